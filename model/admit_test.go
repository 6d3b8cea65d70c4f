package model

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// Each file of testdata/admit is a story: requests ("put ..." in YAML, "delete ..." as lines "Kind name") and, after
// each, its "result": the changes, which are then made, or the error.
func TestAdmitStories(t *testing.T) {
	files, err := filepath.Glob("testdata/admit/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tell(t, archive)
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// tell compares the results of a story, or puts in the real ones if the goldens are to be rewritten.
func tell(t *testing.T, archive *txtar.Archive) {
	var (
		state   = NewState()
		request Request
		failure error
	)
	for i, section := range archive.Files {
		verb, _, _ := strings.Cut(section.Name, " ")
		switch verb {
		case "put":
			objects, err := DecodeYAML(section.Data, "net.yaml")
			request.Put, failure = append(request.Put, objects...), errors.Join(failure, err)
		case "delete":
			request.Delete = append(request.Delete, keysOf(t, string(section.Data))...)
		case "result":
			var got string
			state, got = outcome(state, request, failure)
			if *update {
				archive.Files[i].Data = []byte(got)
			} else if diff := cmp.Diff(string(section.Data), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", section.Name, diff)
			}
			request, failure = Request{}, nil
		default:
			t.Fatalf("section %q is neither put, delete nor result", section.Name)
		}
	}
	if len(request.Put)+len(request.Delete) > 0 || failure != nil {
		t.Fatal("the last request has no result")
	}
}

func keysOf(t *testing.T, text string) (keys []Key) {
	for line := range strings.Lines(text) {
		kind, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			t.Fatalf("delete %q: want Kind and name", line)
		}
		keys = append(keys, Key{kind, name})
	}
	return keys
}

// outcome is the state after a request, and what came of it in words.
func outcome(state *State, request Request, failure error) (*State, string) {
	if failure != nil {
		return state, "undecodable\n" + failure.Error() + "\n"
	}
	changes, err := Admit(state, request)
	if err != nil {
		return state, fmt.Sprintf("refused: %T\n%v\n", err, err)
	}
	return commit(state, changes), describe(changes)
}

// commit is what the server and the store do with changes.
func commit(state *State, changes []Change) *State {
	revision := state.Revision() + 1
	var made []Change
	for _, c := range changes {
		switch c.Action {
		case Create, Update:
			after := *c.After
			after.Revision = revision
			made = append(made, ChangeTo(c.Key(), &after))
		case Delete:
			made = append(made, ChangeTo(c.Key(), nil))
		}
	}
	return state.With(revision, made)
}

func describe(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s", c.Action, c.Key())
		if c.After != nil && c.Action != None {
			spec, err := json.Marshal(c.After.Spec)
			if err != nil {
				panic(err)
			}
			b.WriteString(" " + string(spec))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
