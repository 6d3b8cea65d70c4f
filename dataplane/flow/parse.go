package flow

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ParseFlow reads what [Flow.String] writes. Fields may come in any order, tp_dst and the like after their protocol.
// The flow has passed [Flow.Check] and has no owner.
func ParseFlow(s string) (Flow, error) { return TableNames(nil).ParseFlow(s) }

// ParseFlow reads what [TableNames.Flow] writes.
func (n TableNames) ParseFlow(s string) (Flow, error) {
	match, actions, ok := strings.Cut(s, " actions=")
	if !ok {
		return Flow{}, fmt.Errorf("parse flow %q: no actions", s)
	}
	f, err := n.parseMatch(match)
	if err == nil {
		f.Actions, err = n.parseActions(actions)
	}
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		return Flow{}, fmt.Errorf("parse flow %q: %w", s, err)
	}
	return f, nil
}

// parseMatch reads what stands before the actions: table, priority and terms.
func (n TableNames) parseMatch(s string) (Flow, error) {
	var f Flow
	var parts []Part
	for word := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "table":
			f.Table, err = n.number(value)
		case "priority":
			f.Priority, err = parsePriority(value)
		default:
			parts, err = appendPart(parts, key, value)
		}
		if err != nil {
			return Flow{}, fmt.Errorf("%s: %w", word, err)
		}
	}
	f.Match = On(parts...)
	return f, nil
}

func parsePriority(s string) (uint16, error) {
	p, err := strconv.ParseUint(s, 10, 16)
	return uint16(p), err
}

func appendPart(parts []Part, key, value string) ([]Part, error) {
	if value == "" {
		m, ok := protocols[key]
		if !ok {
			return nil, errors.New("no such protocol")
		}
		return append(parts, m), nil
	}
	switch key {
	case "dl_vlan":
		n, err := strconv.ParseUint(value, 0, 12)
		return append(parts, Eq(VLANVID, U64(n|0x1000))), err
	case "dl_vlan_pcp":
		n, err := strconv.ParseUint(value, 0, 3)
		return append(parts, Eq(VLANPCP, U64(n))), err
	}
	f, err := fieldInMatch(key, parts)
	if err != nil {
		return nil, err
	}
	t, err := parseTerm(f, value)
	return append(parts, t), err
}

var protocols = protocolWords()

func protocolWords() map[string]Match {
	words := map[string]Match{}
	for ether, name := range etherNames {
		words[name] = Match{Eq(EthType, U64(ether))}
	}
	for k, name := range protoNames {
		words[name] = Match{Eq(EthType, U64(k[0])), Eq(IPProto, U64(k[1]))}
	}
	return words
}

// fieldInMatch finds a field by its short name; if several share it, by the prerequisite that has been met before.
func fieldInMatch(short string, before []Part) (*Field, error) {
	m := On(before...)
	for _, f := range Fields {
		if f.Short == short && f != InPort16 && m.meets(f.Needs) {
			return f, nil
		}
	}
	return nil, errors.New("no such field, or not after its protocol")
}

func parseTerm(f *Field, s string) (Term, error) {
	switch f.Form {
	case TOS:
		n, err := strconv.ParseUint(s, 0, 8)
		if err == nil && n&3 != 0 {
			err = errors.New("low bits are not dscp")
		}
		return Eq(f, U64(n>>2)), err
	case Frag:
		return parseFrag(s)
	case Flags:
		return parseFlags(f, s)
	}
	v, mask, err := parseMasked(f, s)
	return Term{f, v, mask}, err
}

func parseFrag(s string) (Term, error) {
	for _, f := range fragNames {
		if f.name == s {
			return Term{IPFrag, U64(f.value), U64(f.mask)}, nil
		}
	}
	return Term{}, errors.New("no such kind of fragment")
}

// parseFlags reads "+new-trk", "syn|ack" and "0".
func parseFlags(f *Field, s string) (Term, error) {
	if s == "0" {
		return Eq(f, Value{}), nil
	}
	if s[0] != '+' && s[0] != '-' {
		v := Value{}
		for name := range strings.SplitSeq(s, "|") {
			bit, err := flagBit(f, name)
			if err != nil {
				return Term{}, err
			}
			v = v.Or(bit)
		}
		return Eq(f, v), nil
	}
	t := Term{Field: f}
	for s != "" {
		sign, rest := s[0], s[1:]
		end := strings.IndexAny(rest, "+-")
		if end < 0 {
			end = len(rest)
		}
		bit, err := flagBit(f, rest[:end])
		if err != nil {
			return Term{}, err
		}
		t.Mask = t.Mask.Or(bit)
		if sign == '+' {
			t.Value = t.Value.Or(bit)
		}
		s = rest[end:]
	}
	return t, nil
}

func flagBit(f *Field, name string) (Value, error) {
	for i, n := range flagNames[f] {
		if n == name {
			return Value{Lo: 1}.Shl(i), nil
		}
	}
	return Value{}, fmt.Errorf("no such flag %q", name)
}
