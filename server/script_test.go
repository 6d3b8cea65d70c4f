package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

var rewrite = flag.Bool("update", false, "rewrite the answers in testdata")

// TestScripts runs the scripts in testdata over HTTP, each on a fresh server with a store in memory. A script is
// paragraphs: comments; or a request, as in
//
//	admin PUT /v1/vpcs/blue
//	{"spec": {}}
//	----
//	201 ...
//
// with who sends it in front and the answer below the dashes: its status, then its body, or the refusal in words.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.script")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".script"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("answers differ (-want +got):\n%s", diff)
			}
		})
	}
}

// play runs a script, and returns it with the answers that came.
func play(t *testing.T, script string) string {
	srv := newAPI(t, store.NewMemory(0))
	var paragraphs []string
	for paragraph := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		request, _, _ := strings.Cut(paragraph, "\n----")
		if strings.HasPrefix(request, "#") {
			paragraphs = append(paragraphs, paragraph)
			continue
		}
		head, body, _ := strings.Cut(request, "\n")
		words := strings.SplitN(head, " ", 3)
		answer := srv.send(t, words[0], words[1], words[2], body)
		paragraphs = append(paragraphs, request+"\n----\n"+told(answer))
	}
	return strings.Join(paragraphs, "\n\n") + "\n"
}

// told is an answer as a script has it: a list one item a line, a refusal in words.
func told(a answer) string {
	var (
		refusal api.Refusal
		list    struct {
			Revision int64
			Items    []json.RawMessage
			Changes  []json.RawMessage
		}
		b strings.Builder
	)
	fmt.Fprint(&b, a.status, " ")
	switch {
	case a.status >= 400 && json.Unmarshal(a.body, &refusal) == nil && refusal.Error != nil:
		fmt.Fprint(&b, refusal.Error.Kind, ": ", refusal.Error.Error())
	case json.Unmarshal(a.body, &list) == nil && list.Items != nil:
		fmt.Fprintf(&b, "revision %d, %d items", list.Revision, len(list.Items))
		itemLines(&b, list.Items)
	case json.Unmarshal(a.body, &list) == nil && list.Changes != nil:
		fmt.Fprintf(&b, "revision %d, %d changes", list.Revision, len(list.Changes))
		itemLines(&b, list.Changes)
	default:
		b.Write(bytes.TrimSpace(a.body))
	}
	return strings.TrimSpace(b.String())
}

func itemLines(b *strings.Builder, items []json.RawMessage) {
	for _, item := range items {
		b.WriteString("\n" + string(item))
	}
}

// noon is what time it is to a server under test.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// testServer is a server, reached over HTTP by whoever a header says.
type testServer struct {
	*Server
	url    string
	client *http.Client
}

type answer struct {
	status int
	body   []byte
	header http.Header
}

func newAPI(t *testing.T, s store.Store) testServer { return newAPIOf(t, Config{Store: s}) }

func newAPIOf(t *testing.T, c Config) testServer {
	c.Version = "test"
	if c.now == nil {
		c.now = func() time.Time { return noon }
	}
	server, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(server.Handler(byHeader))
	t.Cleanup(func() {
		server.Close()
		h.Close()
	})
	return testServer{server, h.URL, h.Client()}
}

// byHeader believes a header. Nothing but a test may do that.
func byHeader(r *http.Request) (Caller, error) {
	switch name := r.Header.Get("Test-Caller"); name {
	case "admin":
		return Caller{Kind: LocalAdmin}, nil
	case "nobody":
		return Caller{}, nil
	case "revoked":
		return Caller{}, denied("this certificate was revoked")
	default:
		return Caller{Kind: HostCaller, Host: name}, nil
	}
}

func (a testServer) request(t *testing.T, caller, method, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Test-Caller", caller)
	if body != "" || method == "PUT" || method == "POST" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (a testServer) send(t *testing.T, caller, method, path, body string) answer {
	t.Helper()
	return a.do(t, a.request(t, caller, method, path, body))
}

func (a testServer) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	response, err := a.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, body.Bytes(), response.Header}
}

// must sends as admin, and expects success.
func (a testServer) must(t *testing.T, method, path, body string) answer {
	t.Helper()
	answer := a.send(t, "admin", method, path, body)
	if answer.status >= 300 {
		t.Fatalf("%s %s: %s", method, path, told(answer))
	}
	return answer
}
