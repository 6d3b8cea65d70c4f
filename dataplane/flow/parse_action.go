package flow

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

func (n TableNames) parseActions(s string) ([]Action, error) {
	if s == "drop" {
		return nil, nil
	}
	var list []Action
	for _, word := range splitOutside(s) {
		a, err := n.parseAction(word)
		if err != nil {
			return nil, fmt.Errorf("action %s: %w", word, err)
		}
		list = append(list, a)
	}
	return list, nil
}

// splitOutside splits at commas that are not inside parentheses.
func splitOutside(s string) []string {
	var words []string
	depth, start := 0, 0
	for i, c := range s {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			words = append(words, s[start:i])
			start = i + 1
		}
	}
	return append(words, s[start:])
}

func (n TableNames) parseAction(s string) (Action, error) {
	if args, ok := inParens(s, "resubmit"); ok {
		return n.parseResubmit(args)
	}
	if args, ok := inParens(s, "controller"); ok {
		return parseController(args)
	}
	if args, ok := inParens(s, "ct"); ok {
		return n.parseCT(args)
	}
	if args, ok := strings.CutPrefix(s, "check_pkt_larger("); ok {
		return parseCheckLarger(args)
	}
	switch verb, arg, _ := strings.Cut(s, ":"); verb {
	case "set_field":
		return parseSetField(arg)
	case "move":
		return parseMove(arg)
	case "output":
		return parseOutput(arg)
	case "group":
		id, err := strconv.ParseUint(arg, 10, 32)
		return ToGroup{uint32(id)}, err
	case "meter":
		id, err := strconv.ParseUint(arg, 10, 32)
		return UseMeter{uint32(id)}, err
	case "goto_table":
		table, err := n.number(arg)
		return Goto{table}, err
	case "dec_ttl":
		return DecTTL{}, nil
	case "ct_clear":
		return CTClear{}, nil
	case "IN_PORT", "LOCAL":
		port, err := portNumber(verb)
		return Output{port}, err
	}
	return nil, errors.New("not an action that we write")
}

func inParens(s, verb string) (args string, ok bool) {
	rest, ok := strings.CutPrefix(s, verb+"(")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, ")")
}

func (n TableNames) parseResubmit(args string) (Action, error) {
	table, ok := strings.CutPrefix(args, ",")
	if !ok {
		return nil, errors.New("resubmit to a port")
	}
	id, err := n.number(table)
	return Resubmit{id}, err
}

func parseController(args string) (Action, error) {
	c := Controller{MaxLen: MaxLenAll}
	for arg := range strings.SplitSeq(args, ",") {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "max_len":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 16)
			c.MaxLen = uint16(n)
		case "userdata":
			c.Userdata, err = hex.DecodeString(strings.ReplaceAll(value, ".", ""))
		default:
			err = errors.New("not something that we write")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
	}
	return c, nil
}

func (n TableNames) parseCT(args string) (Action, error) {
	var a CT
	for _, arg := range splitOutside(args) {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch {
		case arg == "commit":
			a.Commit = true
		case key == "table":
			a.Table, err = n.number(value)
			if err == nil && a.Table == 0 {
				err = errors.New("does not go forward")
			}
		case key == "zone":
			a.Zone, err = parsePriority(value)
		case arg == "nat":
			a.NAT = &NAT{}
		case strings.HasPrefix(arg, "nat("):
			a.NAT, err = parseNAT(arg)
		case args != "":
			err = errors.New("not something that we write")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
	}
	return a, nil
}

// parseNAT reads "nat(src=1.2.3.4)", "nat(dst=[fd00::1]:80)" and "nat(src=1.2.3.4:1024-2047)".
func parseNAT(s string) (*NAT, error) {
	args, _ := inParens(s, "nat")
	kind, target, _ := strings.Cut(args, "=")
	var n NAT
	for k, name := range natNames {
		if name == kind {
			n.Kind = k
		}
	}
	if n.Kind == NATKnown {
		return nil, errors.New("not a translation that we write")
	}
	var err error
	if n.Addr, err = netip.ParseAddr(target); err == nil {
		return &n, nil
	}
	first, last, isRange := strings.Cut(target, "-")
	from, err := netip.ParseAddrPort(first)
	if err != nil {
		return nil, err
	}
	n.Addr, n.FirstPort, n.LastPort = from.Addr(), from.Port(), from.Port()
	if isRange {
		n.LastPort, err = parsePriority(last)
	}
	return &n, err
}

func parseSetField(s string) (Action, error) {
	value, name, ok := strings.Cut(s, "->")
	f, known := FieldByName(name)
	if !ok || !known {
		return nil, errors.New("no such field")
	}
	v, mask, err := parseMasked(f, value)
	if mask == f.Exact() {
		mask = Value{}
	}
	return SetField{f, v, mask}, err
}

func parseMove(s string) (Action, error) {
	src, dst, ok := strings.Cut(s, "->")
	if !ok {
		return nil, errors.New("no destination")
	}
	var m Move
	var err error
	if m.Src, m.SrcBit, m.Bits, err = parseBits(src); err != nil {
		return nil, err
	}
	var bits int
	if m.Dst, m.DstBit, bits, err = parseBits(dst); err != nil {
		return nil, err
	}
	if bits != m.Bits {
		return nil, errors.New("two widths")
	}
	return m, nil
}

func parseOutput(s string) (Action, error) {
	if !strings.HasSuffix(s, "]") {
		port, err := strconv.ParseUint(s, 10, 32)
		return Output{uint32(port)}, err
	}
	f, first, n, err := parseBits(s)
	if err == nil && (first != 0 || n != 16) {
		err = errors.New("not the low 16 bits")
	}
	return OutputReg{f}, err
}

// parseCheckLarger reads "1464)->NXM_NX_REG0[0]".
func parseCheckLarger(s string) (Action, error) {
	length, dst, ok := strings.Cut(s, ")->")
	if !ok {
		return nil, errors.New("no destination")
	}
	var a CheckLarger
	var err error
	if a.Len, err = parsePriority(length); err != nil {
		return nil, err
	}
	var bits int
	a.Dst, a.Bit, bits, err = parseBits(dst)
	if err == nil && bits != 1 {
		err = errors.New("not one bit")
	}
	return a, err
}

// parseBits reads "NAME[]", "NAME[4]" and "NAME[0..15]".
func parseBits(s string) (f *Field, first, n int, err error) {
	name, within, _ := strings.Cut(strings.TrimSuffix(s, "]"), "[")
	f, ok := FieldByName(name)
	if !ok {
		return nil, 0, 0, fmt.Errorf("%s: no such field", name)
	}
	if within == "" {
		return f, 0, f.Bits, nil
	}
	from, to, isRange := strings.Cut(within, "..")
	if first, err = strconv.Atoi(from); err != nil || !isRange {
		return f, first, 1, err
	}
	last, err := strconv.Atoi(to)
	return f, first, last - first + 1, err
}

// ParseGroup reads what [Group.String] writes. The group has passed [Group.Check] and has no owner.
func ParseGroup(s string) (Group, error) { return TableNames(nil).ParseGroup(s) }

// ParseGroup reads what [TableNames.Group] writes.
func (n TableNames) ParseGroup(s string) (Group, error) {
	g, err := n.parseGroup(s)
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return Group{}, fmt.Errorf("parse group %q: %w", s, err)
	}
	return g, nil
}

func (n TableNames) parseGroup(s string) (Group, error) {
	parts := strings.Split(s, ",bucket=")
	var g Group
	id, kind, _ := strings.Cut(parts[0], ",type=")
	number, err := strconv.ParseUint(strings.TrimPrefix(id, "group_id="), 10, 32)
	if err != nil {
		return g, err
	}
	g.ID = uint32(number)
	if g.Type, err = parseGroupType(kind); err != nil {
		return g, err
	}
	for _, p := range parts[1:] {
		b, err := n.parseBucket(g.Type, p)
		if err != nil {
			return g, err
		}
		g.Buckets = append(g.Buckets, b)
	}
	return g, nil
}

func parseGroupType(s string) (GroupType, error) {
	for t, name := range groupTypes {
		if name == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("type %q", s)
}

// parseBucket ignores bucket_id, which is the bucket's position. A select bucket that says nothing of its weight has 1.
func (n TableNames) parseBucket(kind GroupType, s string) (Bucket, error) {
	var b Bucket
	if kind == GroupSelect {
		b.Weight = 1
	}
	head, actions, ok := strings.Cut(s, "actions=")
	if !ok {
		return b, errors.New("bucket without actions")
	}
	for word := range strings.SplitSeq(strings.TrimSuffix(head, ","), ",") {
		key, value, _ := strings.Cut(word, ":")
		var err error
		switch key {
		case "weight":
			b.Weight, err = parsePriority(value)
		case "watch_port":
			b.WatchPort, err = portNumber(value)
		case "bucket_id", "":
		default:
			err = errors.New("not something that we write")
		}
		if err != nil {
			return b, fmt.Errorf("bucket: %s: %w", word, err)
		}
	}
	var err error
	b.Actions, err = n.parseActions(actions)
	return b, err
}
