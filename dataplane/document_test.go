package dataplane_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/dataplane"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestDocumentIsFresh(t *testing.T) {
	const path = "../docs/pipeline.md"
	if *update {
		if err := os.WriteFile(path, []byte(dataplane.Document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dataplane.Document(), string(have)); diff != "" {
		t.Errorf("docs/pipeline.md is stale; run go test ./dataplane -update (-want +have):\n%s", diff)
	}
}
