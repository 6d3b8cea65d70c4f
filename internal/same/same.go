// Package same tells lists and maps apart by identity. If nobody writes them any more, the same ones are equal, which is
// cheaper to see than equal contents. It may say no although the contents are equal.
package same

import "reflect"

// List tells whether two slices are one.
func List[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Map tells whether two maps are one.
func Map[K comparable, V any](a, b map[K]V) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}
