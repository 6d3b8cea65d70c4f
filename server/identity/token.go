package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/server/api"
)

// Tokens are the join tokens of all servers of a store. They are stored with a hash of the secret only. A plain SHA-256
// is enough for a secret of 128 random bits.
type Tokens struct {
	secrets SecretStore
	ca      string // fingerprint in each token
	now     func() time.Time
}

// NewTokens returns the tokens in a store of secrets.
func NewTokens(secrets SecretStore, ca *CA) *Tokens {
	return &Tokens{secrets, ca.Fingerprint(), ca.now}
}

const (
	tokensSecret = "tokens"
	tokenTTL     = time.Hour
	tokenMaxTTL  = 365 * 24 * time.Hour
	tokenMaxUses = 10_000
	tokenKept    = 7 * 24 * time.Hour // after its expiry, so that a late use is refused with the reason
)

// token is a token in its stored form.
type token struct {
	ID      string    `json:"id"`
	Hash    []byte    `json:"hash"` // SHA-256 of the secret
	Host    string    `json:"host,omitempty"`
	Uses    int       `json:"uses"`
	Used    []Use     `json:"used,omitempty"`
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked,omitempty"`
}

// Use is one host that joined with a token.
type Use struct {
	Host     string `json:"host"`
	Identity string `json:"identity"`
}

// Create makes a token. Only the answer has its text.
func (ts *Tokens) Create(ctx context.Context, q api.TokenRequest) (api.NewToken, error) {
	if q.Uses == 0 {
		q.Uses = 1
	}
	if q.TTL == 0 {
		q.TTL = api.Duration(tokenTTL)
	}
	if err := checkTokenRequest(q); err != nil {
		return api.NewToken{}, err
	}
	text := api.Token{ID: randomText(5), Secret: randomText(16), CA: ts.ca}
	made := token{ID: text.ID, Hash: secretHash(text.Secret), Host: q.Host, Uses: q.Uses,
		Expires: ts.now().Add(time.Duration(q.TTL)).UTC()}
	err := ts.change(ctx, func(all []token) ([]token, error) {
		all = slices.DeleteFunc(all, func(t token) bool { return ts.now().After(t.Expires.Add(tokenKept)) })
		return append(all, made), nil
	})
	return api.NewToken{TokenInfo: made.info(), Text: text.String()}, err
}

func checkTokenRequest(q api.TokenRequest) error {
	switch {
	case q.Uses < 1 || q.Uses > tokenMaxUses:
		return api.Invalid.Errorf("uses %d: a token is for 1 to %d hosts", q.Uses, tokenMaxUses)
	case q.TTL < 0 || time.Duration(q.TTL) > tokenMaxTTL:
		return api.Invalid.Errorf("ttl %s: a token is good for at most a year", time.Duration(q.TTL))
	case q.Host != "" && q.Uses != 1:
		return api.Invalid.Errorf("uses %d: a token for one host name is for one use", q.Uses)
	}
	return nil
}

// randomText returns n random bytes in lower-case base 32.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

func secretHash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// List returns all tokens, including those that are no longer valid, oldest first.
func (ts *Tokens) List(ctx context.Context) ([]api.TokenInfo, error) {
	all, _, err := ts.read(ctx)
	infos := make([]api.TokenInfo, len(all))
	for i, t := range all {
		infos[i] = t.info()
	}
	return infos, err
}

func (t token) info() api.TokenInfo {
	info := api.TokenInfo{ID: t.ID, Host: t.Host, Uses: t.Uses, Expires: t.Expires, Revoked: t.Revoked}
	for _, u := range t.Used {
		info.Used = append(info.Used, u.Host)
	}
	return info
}

// Revoke revokes a token. Hosts that have joined with it stay.
func (ts *Tokens) Revoke(ctx context.Context, id string) error {
	return ts.change(ctx, func(all []token) ([]token, error) {
		i := slices.IndexFunc(all, func(t token) bool { return t.ID == id })
		if i < 0 {
			return nil, api.NotFound.Errorf("there is no token %s; overlane token list shows them", id)
		}
		all[i].Revoked = true
		return all, nil
	})
}

// check finds the token with which a host may join. An unknown ID and a wrong secret give the same error in the same
// time, so knowing an ID does not help to guess. again reports that this host itself has used the token up: the answer
// was lost, and it asks once more.
func (ts *Tokens) check(all []token, t api.Token, u Use) (kept *token, again bool, err error) {
	i := slices.IndexFunc(all, func(kept token) bool { return kept.ID == t.ID })
	hash := make([]byte, sha256.Size)
	if i >= 0 {
		hash = all[i].Hash
	}
	if subtle.ConstantTimeCompare(hash, secretHash(t.Secret)) != 1 || i < 0 {
		return nil, false, api.Denied.Errorf("the join token is not one of this server's; overlane token create " +
			"makes one")
	}
	kept = &all[i]
	switch state := kept.info().State(ts.now()); {
	case kept.Host != "" && kept.Host != u.Host:
		return nil, false, api.Denied.Errorf("join token %s is for host %s, not for %s", t.ID, kept.Host, u.Host)
	case state == "used up" && slices.Contains(kept.Used, u):
		return kept, true, nil
	case state == "expired":
		return nil, false, api.Denied.Errorf("join token %s expired at %s; overlane token create makes a new one", t.ID,
			kept.Expires.Format(time.RFC3339))
	case state != "valid":
		return nil, false, api.Denied.Errorf("join token %s is %s; overlane token create makes a new one", t.ID, state)
	}
	return kept, false, nil
}

// Spent is the use of a token by a host.
type Spent struct {
	Named bool // the token is for this host only
	Again bool // this host itself has used the token up: the answer was lost, and it asks once more
}

// Spend uses a token for one host. If two hosts use it for the last time at once, one is refused.
func (ts *Tokens) Spend(ctx context.Context, t api.Token, u Use) (s Spent, err error) {
	err = ts.change(ctx, func(all []token) ([]token, error) {
		kept, again, err := ts.check(all, t, u)
		if err != nil {
			return nil, err
		}
		s = Spent{kept.Host != "", again}
		if !again {
			kept.Used = append(kept.Used, u)
		}
		return all, nil
	})
	return s, err
}

// Refund reverts the use of a token by a host that could not join after all.
func (ts *Tokens) Refund(ctx context.Context, t api.Token, u Use) error {
	return ts.change(ctx, func(all []token) ([]token, error) {
		for i := range all {
			if all[i].ID == t.ID {
				if at := slices.Index(all[i].Used, u); at >= 0 {
					all[i].Used = slices.Delete(all[i].Used, at, at+1)
				}
			}
		}
		return all, nil
	})
}

// change edits the tokens. It repeats the edit if another server has changed them meanwhile.
func (ts *Tokens) change(ctx context.Context, edit func([]token) ([]token, error)) error {
	for {
		all, revision, err := ts.read(ctx)
		if err != nil {
			return err
		}
		if all, err = edit(all); err != nil {
			return err
		}
		text, err := json.Marshal(all)
		if err != nil {
			return fmt.Errorf("write the join tokens: %w", err)
		}
		if swapped, err := ts.secrets.PutSecret(ctx, tokensSecret, text, revision); err != nil {
			return fmt.Errorf("write the join tokens: %w", err)
		} else if swapped {
			return nil
		}
	}
}

func (ts *Tokens) read(ctx context.Context) (all []token, revision int64, err error) {
	text, revision, err := ts.secrets.Secret(ctx, tokensSecret)
	if err != nil {
		return nil, 0, fmt.Errorf("read the join tokens: %w", err)
	}
	if revision == 0 {
		return nil, 0, nil
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, 0, fmt.Errorf("read the join tokens: %w", err)
	}
	return all, revision, nil
}
