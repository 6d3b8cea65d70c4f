package agent

import "reflect"

// Lists and maps that nobody writes any more are equal if they are the same, which is cheaper to see. These two may say
// no although the contents are equal.

func sameList[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func sameMap[K comparable, V any](a, b map[K]V) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}
