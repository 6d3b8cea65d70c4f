// Package model has the kinds of object that users may ask for, their fields, and the rules that a set of objects must
// keep. It is pure: it reads no file, no clock and no network, and it stores nothing.
package model

import "strings"

// Object is one object of intent: a user put it, or Overlane made it as a consequence.
//
// Name is hierarchical: "host1", "blue", "blue/web", "blue/web/db1" (see [Kind.Path]). Spec is the wanted state; its
// dynamic type is the pointer that the kind's table entry makes. Status is the measured state, which no request sets.
type Object struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Revision int64  `json:"revision,omitempty"` // store revision of the last change of Spec; 0 for one not stored yet
	Spec     Spec   `json:"spec"`
	Status   any    `json:"status,omitempty"`
}

// Key names an object among all objects.
type Key struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

func (k Key) String() string { return k.Kind + " " + k.Name }

// Key is the object's own.
func (o Object) Key() Key { return Key{o.Kind, o.Name} }

// Parent is the name above this one: "blue/web" for "blue/web/db1", "" for "blue".
func Parent(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i]
	}
	return ""
}

// Spec is the wanted half of an object. Each kind has one struct that implements it, in the file of that kind.
type Spec interface {
	// Check judges the fields on their own, without looking at other objects.
	Check(name string) Problems

	copy() Spec
	setDefaults(stored Spec)            // fill in fields that a put may leave out, from the stored spec (nil for a new object)
	index(d *draft, o, before *Object)  // into the indexes; before is nil for a new object
	unindex(d *draft, o, after *Object) // out of them; after is nil if it is deleted
}
