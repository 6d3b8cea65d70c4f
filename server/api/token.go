package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// Token is what a machine needs to join: "ovl1.ID.SECRET.CA".
type Token struct {
	ID     string // names the token in lists; not secret
	Secret string // 128 bits, in base 32
	CA     string // SHA-256 of the CA's certificate, in hex
}

const tokenVersion = "ovl1"

// String is the token's text. It holds the secret: show it to the one who asked for it, and never log it.
func (t Token) String() string {
	return strings.Join([]string{tokenVersion, t.ID, t.Secret, t.CA}, ".")
}

// LogValue keeps the secret out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue("token " + t.ID) }

var errNotToken = errors.New("this is not a join token; one reads ovl1.ID.SECRET.CA, and overlane token create prints it")

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

// TokenRequest asks for a token. Its zero value is a token for one host of any name, for an hour.
type TokenRequest struct {
	Host string   `json:"host,omitempty"` // the only name that may join with it; it may then take the place of that host
	TTL  Duration `json:"ttl,omitempty"`  // how long it is good for; default 1h
	Uses int      `json:"uses,omitempty"` // how many hosts may join with it; default 1
}

// NewToken is the answer. The text is not to be had again: the server keeps only a hash of its secret.
type NewToken struct {
	TokenInfo
	Text string `json:"text"`
}

// TokenInfo is what a list of tokens says of one.
type TokenInfo struct {
	ID      string    `json:"id"`
	Host    string    `json:"host,omitempty"`
	Uses    int       `json:"uses"`           // at most
	Used    []string  `json:"used,omitempty"` // hosts that have joined with it
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked,omitempty"`
}

// State says whether the token may still be used: valid, revoked, used up or expired.
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

// Duration is a time.Duration that JSON has as text: "1h30m".
type Duration time.Duration

// MarshalText writes it as time.Duration prints it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
