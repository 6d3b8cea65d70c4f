package wire

// Is says that an error is of the same kind as target, if target says no more than a kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Kind == e.Kind
}
