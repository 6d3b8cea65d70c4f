package dataplane_test

import (
	"regexp"
	"testing"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
)

// Slots lie in registers, and no two share a bit.
func TestSlotsDoNotOverlap(t *testing.T) {
	taken := map[*flow.Field]flow.Value{}
	for _, s := range dataplane.Slots {
		if s.First < 0 || s.Width < 1 || s.First+s.Width > s.Field.Bits {
			t.Errorf("%s does not fit into %s", s.Name, s.Field)
		}
		wide, first := flow.Widest(s.Field, s.First)
		bits := flow.Ones(s.Width).Shl(first)
		if !taken[wide].And(bits).IsZero() {
			t.Errorf("%s shares bits with another slot", s.Name)
		}
		taken[wide] = taken[wide].Or(bits)
	}
}

// No flow reads or writes bits of a register that are no slot's: they would be printed by the register's name.
func TestFlowsUseSlotsOnly(t *testing.T) {
	v, w := big()
	w.SNATPort, w.UpstreamPort, w.UnderlayPort = 2, 3, 4
	e := dataplane.Compile(v, w)
	symbols := dataplane.Symbols(e.Groups)
	register := regexp.MustCompile(`(?i)\bx{0,2}reg[0-9]|metadata`)
	for _, f := range e.Flows {
		if text := symbols.Flow(f); register.MatchString(text) {
			t.Errorf("no slot: %s", text)
		}
	}
	for _, g := range e.Groups {
		if text := symbols.Group(g); register.MatchString(text) {
			t.Errorf("no slot: %s", text)
		}
	}
}
