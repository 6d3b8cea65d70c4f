package flow

// ones is a value whose low n bits are set, 0 <= n <= 128.
func ones(n int) Value {
	switch {
	case n >= 128:
		return Value{^uint64(0), ^uint64(0)}
	case n > 64:
		return Value{1<<(n-64) - 1, ^uint64(0)}
	case n == 64:
		return Value{0, ^uint64(0)}
	}
	return Value{0, 1<<n - 1}
}
