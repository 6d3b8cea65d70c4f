package model

import "errors"

// Admit judges a request against all there is, and says what it would change: every default and allocation filled in,
// what is referred to before what refers to it, deletes last. It changes nothing itself, s included.
//
// The error is [Problems], all of the request's, or a [Conflict].
func Admit(s *State, r Request) ([]Change, error) {
	return nil, errors.New("admit: not built yet")
}
