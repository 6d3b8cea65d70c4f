package hostnet

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// table reads the nftables table back, and describes it expression by expression: programs called nft print the same
// rules otherwise from version to version.
func (i *inspection) table(context.Context) (lines []string, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	if there, err := tableExists(c); err != nil || !there {
		return nil, err
	}
	for _, read := range []func(*nftables.Conn) ([]string, error){readSets, readCounterNames, readChains} {
		some, err := read(c)
		if err != nil {
			return nil, err
		}
		lines = append(lines, some...)
	}
	return lines, nil
}

func readSets(c *nftables.Conn) (lines []string, err error) {
	sets, err := c.GetSets(ourTable())
	if err != nil {
		return nil, err
	}
	for _, s := range sets {
		elements, err := c.GetSetElements(s)
		if err != nil {
			return nil, err
		}
		line := "set " + s.Name + ":"
		slices.SortFunc(elements, func(a, b nftables.SetElement) int { return compareElements(&a, &b) })
		for _, e := range elements {
			line += " " + elementText(e)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// elementText tells the sets' types by the length of their keys: an address, a name, or an address and a range.
func elementText(e nftables.SetElement) string {
	switch len(e.Key) {
	case 4:
		return addressText(e.Key)
	case 8:
		text := addressText(e.Key[:4]) + "->" + addressText(e.Key[4:])
		if len(e.KeyEnd) == 8 && !bytes.Equal(e.Key, e.KeyEnd) {
			text += "-" + addressText(e.KeyEnd[4:])
		}
		return text
	}
	return nameText(e.Key)
}

func readCounterNames(c *nftables.Conn) (lines []string, err error) {
	objects, err := c.GetNamedObjects(ourTable())
	for _, o := range objects {
		if o, ok := o.(*nftables.NamedObj); ok && o.Type == nftables.ObjTypeCounter {
			lines = append(lines, "counter "+o.Name)
		}
	}
	return lines, err
}

func readChains(c *nftables.Conn) (lines []string, err error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, err
	}
	for _, h := range chains {
		if h.Table.Name != tableName {
			continue
		}
		lines = append(lines, "chain "+h.Name+hookText(h))
		rules, err := c.GetRules(ourTable(), h)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			lines = append(lines, "  "+ruleText(r.Exprs))
		}
	}
	return lines, nil
}

func hookText(c *nftables.Chain) string {
	if c.Hooknum == nil {
		return ""
	}
	hooks := []string{"prerouting", "input", "forward", "output", "postrouting"} // NF_INET_*
	text := fmt.Sprintf(" of type %s at hook %s", c.Type, hooks[*c.Hooknum])
	if c.Priority != nil {
		text += fmt.Sprintf(", priority %d", *c.Priority)
	}
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		text += ", policy drop"
	}
	return text
}

// loaded is what the rule has in its register, and how to write a value to compare it with.
type loaded struct {
	name string
	text func([]byte) string
}

// ruleText describes a rule. What it does not know it gives as the library has it.
func ruleText(rule []expr.Any) string {
	var words []string
	var has loaded
	for _, e := range rule {
		switch e := e.(type) {
		case *expr.Cmp:
			ops := map[expr.CmpOp]string{expr.CmpOpEq: "==", expr.CmpOpNeq: "!=", expr.CmpOpLt: "<", expr.CmpOpLte: "<=", expr.CmpOpGt: ">", expr.CmpOpGte: ">="}
			words = append(words, fmt.Sprintf("%s %s %s", has.name, ops[e.Op], has.text(e.Data)))
		case *expr.Lookup:
			in := map[bool]string{false: "in", true: "not in"}[e.Invert]
			words = append(words, fmt.Sprintf("%s %s @%s", has.name, in, e.SetName))
		case *expr.Meta:
			if e.SourceRegister {
				words = append(words, fmt.Sprintf("set %s to (%s)", metaOf(e).name, has.name))
			} else {
				has = metaOf(e)
			}
		case *expr.Payload:
			if next := payloadOf(e); e.DestRegister == 1 {
				has = next
			} else {
				has.name += " . " + next.name
			}
		case *expr.Bitwise:
			has = bitwiseOf(e, has)
		case *expr.Fib:
			has = fibOf(e)
		case *expr.Ct:
			has = loaded{"ct state", stateText}
		default:
			words = append(words, actionText(e))
		}
	}
	return strings.Join(words, "; ")
}

func metaOf(e *expr.Meta) loaded {
	switch e.Key {
	case expr.MetaKeyIIFNAME:
		return loaded{"iifname", nameText}
	case expr.MetaKeyOIFNAME:
		return loaded{"oifname", nameText}
	case expr.MetaKeyMARK:
		return loaded{"mark", numberText}
	case expr.MetaKeyL4PROTO:
		return loaded{"protocol", numberText}
	case expr.MetaKeySKUID:
		return loaded{"uid of the socket", numberText}
	}
	return loaded{fmt.Sprintf("meta %d", e.Key), numberText}
}

func payloadOf(e *expr.Payload) loaded {
	switch {
	case e.Base == expr.PayloadBaseNetworkHeader && e.Offset == ipSource && e.Len == 4:
		return loaded{"source", addressText}
	case e.Base == expr.PayloadBaseNetworkHeader && e.Offset == ipDestination && e.Len == 4:
		return loaded{"destination", addressText}
	case e.Base == expr.PayloadBaseTransportHeader && e.Offset == udpDestPort && e.Len == 2:
		return loaded{"destination port", func(b []byte) string { return fmt.Sprint(binary.BigEndian.Uint16(b)) }}
	}
	return loaded{fmt.Sprintf("%d bytes at %d of header %d", e.Len, e.Offset, e.Base), numberText}
}

func bitwiseOf(e *expr.Bitwise, has loaded) loaded {
	has.name += " & " + has.text(e.Mask)
	if !bytes.Equal(e.Xor, make([]byte, len(e.Xor))) {
		has.name += " ^ " + has.text(e.Xor)
	}
	return has
}

func fibOf(e *expr.Fib) loaded {
	of := "destination"
	if e.FlagSADDR {
		of = "source"
	}
	if e.FlagIIF {
		of += " by the way in"
	}
	if e.ResultADDRTYPE {
		return loaded{"type of " + of, numberText}
	}
	return loaded{"interface to " + of, numberText}
}

func actionText(e expr.Any) string {
	switch e := e.(type) {
	case *expr.Verdict:
		switch e.Kind {
		case expr.VerdictAccept:
			return "accept"
		case expr.VerdictDrop:
			return "drop"
		case expr.VerdictJump:
			return "jump to " + e.Chain
		}
	case *expr.Objref:
		return "count " + e.Name
	case *expr.Notrack:
		return "do not track"
	case *expr.Masq:
		return "masquerade"
	}
	return fmt.Sprintf("%+v", e)
}

// nameText gives an interface. What is shorter than the kernel's names are is a prefix.
func nameText(b []byte) string {
	name := string(bytes.TrimRight(b, "\x00"))
	if len(b) < unix.IFNAMSIZ {
		name += "*"
	}
	return name
}

func addressText(b []byte) string {
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

func numberText(b []byte) string {
	var whole [4]byte
	copy(whole[:], b)
	return fmt.Sprintf("%#x", binary.NativeEndian.Uint32(whole[:]))
}

func stateText(b []byte) string {
	var states []string
	for _, s := range []struct {
		bit  uint32
		name string
	}{
		{expr.CtStateBitINVALID, "invalid"}, {expr.CtStateBitESTABLISHED, "established"}, {expr.CtStateBitRELATED, "related"},
		{expr.CtStateBitNEW, "new"}, {expr.CtStateBitUNTRACKED, "untracked"},
	} {
		if binary.NativeEndian.Uint32(b)&s.bit != 0 {
			states = append(states, s.name)
		}
	}
	if states == nil {
		return "none"
	}
	return strings.Join(states, ",")
}
