package model

import (
	"fmt"
	"iter"
	"strings"
)

// Kind describes a kind of object to generic code: API paths, command line, tables, OpenAPI, admission.
type Kind struct {
	Name      string      // "Subnet"
	Plural    string      // "subnets": in API paths
	Short     string      // "sn"
	Path      []string    // what the parts of a name are: "VPC", "SUBNET"
	Doc       string      // one sentence
	New       func() Spec // an empty spec, a pointer; its fields have doc tags
	NewStatus func() any  // an empty status, a pointer; its fields have doc tags
	Columns   []Column    // of a table of such objects, the name first
	Derived   bool        // Overlane makes, changes and deletes its objects; users do not

	reserve   func(*admission, Spec)                      // note the values that a put fixes, before any kind allocates; nil: none
	admit     func(*admission, []*put)                    // judge puts against all other objects, and fill in the rest
	derive    func(*admission)                            // change objects of the kind as the request requires; nil: none do
	summarise func(s *State, name string, m Measured) any // status, from the statuses that agents reported; nil: agents report it
	users     []users                                     // kinds whose objects refer to one of this kind, and prevent its deletion
	derived   advice                                      // of a derived kind: why users do not delete objects, and what to do instead
}

// users are objects of one kind that refer to the one of that name.
type users struct {
	noun string // "endpoint"
	of   func(*State, string) iter.Seq[*Object]
}

// Column is one column of a table of objects. Value copes with an object without status.
type Column struct {
	Header string
	Value  func(Object) string
}

// Kinds are all kinds, each after the kinds that it refers to.
var Kinds = []Kind{hostKind, vpcKind, subnetKind, endpointKind, publicPoolKind, internetGatewayKind, portBlockKind, publicIPKind, forwardKind}

// kindOrder has the index of each kind in Kinds. It is filled by init, because the kinds' own functions use it.
var kindOrder = map[string]int{}

func init() {
	for i, k := range Kinds {
		kindOrder[k.Name] = i
	}
}

// kindIndex is the index of a kind in Kinds, -1 if there is no such kind.
func kindIndex(name string) int {
	if i, ok := kindOrder[name]; ok {
		return i
	}
	return -1
}

func kindNamed(name string) (Kind, bool) {
	if i := kindIndex(name); i >= 0 {
		return Kinds[i], true
	}
	return Kind{}, false
}

// KindByName finds a kind by any of its names, in any case: "Subnet", "subnets", "sn".
func KindByName(name string) (Kind, bool) {
	for _, k := range Kinds {
		if strings.EqualFold(name, k.Name) || strings.EqualFold(name, k.Plural) || strings.EqualFold(name, k.Short) {
			return k, true
		}
	}
	return Kind{}, false
}

// suggestKind is the remedy for a kind that does not exist.
func suggestKind(word string) string {
	if k, ok := KindByName(word); ok {
		return "write it as " + k.Name
	}
	var names []string
	for _, k := range Kinds {
		names = append(names, k.Name)
	}
	return suggest(word, names, "use one of "+strings.Join(names, ", "))
}

// column shows a field of the spec.
func column[S Spec](value func(S) any) func(Object) string {
	return func(o Object) string {
		spec, ok := o.Spec.(S)
		if !ok {
			return ""
		}
		return display(value(spec))
	}
}

// statusColumn shows a field of the status, which is a pointer as [Kind.NewStatus] makes it; "-" if there is none.
func statusColumn[S any](value func(*S) any) func(Object) string {
	return func(o Object) string {
		status, ok := o.Status.(*S)
		if !ok || status == nil {
			return "-"
		}
		return fmt.Sprint(value(status))
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
