package flow

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseMasked reads VALUE or VALUE/MASK; for addresses the mask may be a length.
func parseMasked(f *Field, s string) (v, mask Value, err error) {
	value, m, masked := strings.Cut(s, "/")
	if v, err = parseValue(f, value); err != nil || !masked {
		return v, f.Exact(), err
	}
	if n, err := strconv.Atoi(m); err == nil && (f.Form == IPv4 || f.Form == IPv6) {
		if n < 0 || n > f.Bits {
			return v, mask, fmt.Errorf("mask of %d bits", n)
		}
		return v, Ones(n).Shl(f.Bits - n), nil
	}
	mask, err = parseValue(f, m)
	return v, mask, err
}

func parseValue(f *Field, s string) (Value, error) {
	switch f.Form {
	case IPv4, IPv6:
		return parseAddr(f, s)
	case Ethernet:
		return parseMAC(s)
	case Port:
		return parsePort(f, s)
	}
	return parseNumber(s)
}

func parseAddr(f *Field, s string) (Value, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return Value{}, err
	}
	if a.BitLen() != f.Bits || a.Zone() != "" {
		return Value{}, errors.New("an address of the other family, or with a zone")
	}
	return Addr(a), nil
}

func parseMAC(s string) (Value, error) {
	var a [6]byte
	parts := strings.Split(s, ":")
	if len(parts) != len(a) {
		return Value{}, errors.New("not an Ethernet address")
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return Value{}, errors.New("not an Ethernet address")
		}
		a[i] = byte(n)
	}
	return MAC(a), nil
}

func parsePort(f *Field, s string) (Value, error) {
	p, err := portNumber(s)
	switch {
	case err != nil:
		return Value{}, err
	case f == InPort16 && p > 0xfeff && p < 0xffffff00:
		return Value{}, errors.New("no such port")
	case f == InPort16:
		return U32(p & 0xffff), nil
	}
	return U32(p), nil
}

// parseNumber reads a number of up to 128 bits, decimal up to 64.
func parseNumber(s string) (Value, error) {
	digits, isHex := strings.CutPrefix(s, "0x")
	if !isHex {
		n, err := strconv.ParseUint(s, 10, 64)
		return U64(n), err
	}
	if len(digits) <= 16 {
		n, err := strconv.ParseUint(digits, 16, 64)
		return U64(n), err
	}
	split := len(digits) - 16
	hi, err := strconv.ParseUint(digits[:split], 16, 64)
	if err != nil {
		return Value{}, err
	}
	lo, err := strconv.ParseUint(digits[split:], 16, 64)
	return Value{hi, lo}, err
}
