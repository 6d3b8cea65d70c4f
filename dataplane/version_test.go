package dataplane_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"github.com/overlane/overlane/dataplane"
)

// pipelineSums are the checksums of the pipeline's versions.
var pipelineSums = map[int]string{
	2: "9c20a202fd597c79293968f550c18c75",
}

// A pipeline that has changed is another version: its flows mean something else to the packets of a running host.
func TestVersionBelongsToPipeline(t *testing.T) {
	if sum := pipelineSum(t); pipelineSums[dataplane.Version] != sum {
		t.Errorf(`the pipeline is not the one of version %d: its checksum is
	%s
If flows of running hosts change their meaning, raise Version in pipeline.go, and add the checksum to pipelineSums.
If no release has this version yet, or only names have changed, replace the checksum of the version.`,
			dataplane.Version, sum)
	}
}

// pipelineSum is the checksum of the flows of the pipeline, which print names, and of the numbers behind the names.
func pipelineSum(t *testing.T) string {
	t.Helper()
	flows, err := os.ReadFile(pipelineGolden)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	sum.Write(flows)
	for _, table := range dataplane.Tables {
		fmt.Fprintln(sum, table.ID, table.Name)
	}
	for _, slot := range dataplane.Slots {
		fmt.Fprintln(sum, slot.Name, slot.Field, slot.First, slot.Width, slot.Values)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
