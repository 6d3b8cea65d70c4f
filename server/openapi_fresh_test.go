package server

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/store"
)

// TestOpenAPIIsFresh: docs/openapi.json is the document that the server serves, so that a change of the API shows in a
// diff.
func TestOpenAPIIsFresh(t *testing.T) {
	const path = "../docs/openapi.json"
	served, err := json.MarshalIndent(openAPIOf(t, newAPI(t, store.NewMemory(0))), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	served = append(served, '\n')
	if *rewrite {
		if err := os.WriteFile(path, served, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(served), string(have)); diff != "" {
		t.Errorf("docs/openapi.json is stale; run make docs (-served +have):\n%s", diff)
	}
}
