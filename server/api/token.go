package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// Token is a join token: "ovl1.ID.SECRET.CA".
type Token struct {
	ID     string // identifies the token in lists; not secret
	Secret string // 128 bits, in base 32
	CA     string // SHA-256 of the CA's certificate, in hex
}

const tokenVersion = "ovl1"

// String is the text of the token. It contains the secret: show it only to the caller who created it, and never log it.
func (t Token) String() string {
	return strings.Join([]string{tokenVersion, t.ID, t.Secret, t.CA}, ".")
}

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue("token " + t.ID) }

var errNotToken = errors.New("this is not a join token; one reads ovl1.ID.SECRET.CA, and overlane token create " +
	"prints it")

// ParseToken reads a token's text.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || parts[0] != tokenVersion || parts[1] == "" || parts[2] == "" {
		return Token{}, errNotToken
	}
	if sum, err := hex.DecodeString(parts[3]); err != nil || len(sum) != sha256.Size {
		return Token{}, errors.New("the join token is cut short: its last part should be 64 hexadecimal digits")
	}
	return Token{parts[1], parts[2], strings.ToLower(parts[3])}, nil
}

// TokenRequest asks for a token. Its zero value asks for a token for one host of any name, for an hour.
type TokenRequest struct {
	Host string   `json:"host,omitempty"` // the only name that may join with it; it may exist
	TTL  Duration `json:"ttl,omitempty"`  // validity; default 1h
	Uses int      `json:"uses,omitempty"` // number of hosts that may join with it; default 1
}

// NewToken is the answer to a [TokenRequest]. The text is never available again: the server stores only a hash of the
// secret.
type NewToken struct {
	TokenInfo
	Text string `json:"text"`
}

// TokenInfo is an element of a list of tokens.
type TokenInfo struct {
	ID      string    `json:"id"`
	Host    string    `json:"host,omitempty"`
	Uses    int       `json:"uses"`           // at most
	Used    []string  `json:"used,omitempty"` // hosts that have joined with it
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked,omitempty"`
}

// State is valid, revoked, used up or expired.
func (t TokenInfo) State(now time.Time) string {
	switch {
	case t.Revoked:
		return "revoked"
	case !now.Before(t.Expires):
		return "expired"
	case len(t.Used) >= t.Uses:
		return "used up"
	}
	return "valid"
}

// Duration is a time.Duration that is text in JSON: "1h30m".
type Duration time.Duration

// MarshalText writes it as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
