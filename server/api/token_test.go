package api

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var someCA = strings.Repeat("0a", 32)

func FuzzParseToken(f *testing.F) {
	f.Add("ovl1.abc.def." + someCA)
	f.Add(" ovl1.abc.def." + strings.ToUpper(someCA) + "\n")
	f.Add("ovl1...")
	f.Add("ovl1.a.b.c.d")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		again, err := ParseToken(token.String())
		if err != nil || again != token {
			t.Errorf("%q: %+v became %+v, %v", text, token, again, err)
		}
	})
}

func TestParseTokenSaysWhatIsWrong(t *testing.T) {
	for text, words := range map[string]string{
		"":                              "this is not a join token",
		"ovl2.abc.def." + someCA:        "this is not a join token",
		"ovl1..def." + someCA:           "this is not a join token",
		"ovl1.abc.def." + someCA[:60]:   "cut short",
		"ovl1.abc.def." + someCA + "0a": "cut short",
	} {
		if _, err := ParseToken(text); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, not %q", text, err, words)
		}
	}
}

func TestTokenInALogHasNoSecret(t *testing.T) {
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("join", "token", Token{"abc", "verysecret", someCA})
	if text := log.String(); strings.Contains(text, "verysecret") || !strings.Contains(text, "abc") {
		t.Errorf("logged as %s", text)
	}
}

func TestTokenState(t *testing.T) {
	now := time.Now()
	for want, token := range map[string]TokenInfo{
		"valid":   {Uses: 1, Expires: now.Add(1)},
		"expired": {Uses: 1, Expires: now},
		"used up": {Uses: 1, Used: []string{"host1"}, Expires: now.Add(1)},
		"revoked": {Uses: 1, Expires: now.Add(1), Revoked: true},
	} {
		if got := token.State(now); got != want {
			t.Errorf("%+v is %s, not %s", token, got, want)
		}
	}
}

func TestDurationIsText(t *testing.T) {
	text, err := json.Marshal(TokenRequest{TTL: Duration(90 * time.Minute)})
	if err != nil || string(text) != `{"ttl":"1h30m0s"}` {
		t.Errorf("%s, %v", text, err)
	}
	var back TokenRequest
	if err := json.Unmarshal(text, &back); err != nil || back.TTL != Duration(90*time.Minute) {
		t.Errorf("%+v, %v", back, err)
	}
}
