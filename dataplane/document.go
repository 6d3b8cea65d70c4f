package dataplane

import (
	"fmt"
	"strings"
)

// Document is the text of docs/pipeline.md.
func Document() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The pipeline\n\nVersion %d, which `overlane version` shows. ", Version)
	b.WriteString("This page is printed from `dataplane/pipeline.go`.\n\n")
	b.WriteString("| table | name | decides | no flow matches |\n|---|---|---|---|\n")
	for _, t := range Tables {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", t.ID, t.Name, t.Decides, t.Miss)
	}
	b.WriteString("\n## Slots\n\n" +
		"A slot is a range of bits of a register, in which a packet carries something from table to table.\n\n" +
		"| register | name | holds |\n|---|---|---|\n")
	for _, s := range Slots {
		fmt.Fprintf(&b, "| `%s[%d..%d]` | `%s` | %s |\n", s.Field.Name, s.First, s.First+s.Width-1, s.Name, s.Holds)
	}
	b.WriteString("\n## Why a packet is dropped\n\n" +
		"Every drop is a flow with a name; `overlane status` shows the counters.\n\n")
	drops(&b, Drops)
	b.WriteString("\nThe host's nftables table, the agent and the kernel count drops as well. The nftables table also counts into\n" +
		"`guarded-address` and `no-connection`.\n\n")
	drops(&b, OtherDrops)
	return b.String()
}

func drops(b *strings.Builder, all []Drop) {
	b.WriteString("| name | the packet |\n|---|---|\n")
	for _, d := range all {
		fmt.Fprintf(b, "| `%s` | %s |\n", d.Name, d.Because)
	}
}
