package model

import "strings"

// Kind is what everything generic - API paths, command line, tables, OpenAPI - knows of a kind of object.
type Kind struct {
	Name      string      // "Subnet"
	Plural    string      // "subnets": in API paths
	Short     string      // "sn"
	Path      []string    // what the parts of a name are: "VPC", "SUBNET"
	Doc       string      // one sentence
	New       func() Spec // an empty spec, a pointer; its fields have doc tags
	NewStatus func() any  // an empty status, a pointer; its fields have doc tags
	Columns   []Column    // of a table of such objects, the name first
}

// Column is one column of a table of objects. Value copes with an object without status.
type Column struct {
	Header string
	Value  func(Object) string
}

// Kinds are all kinds, each after those that it refers to.
var Kinds = []Kind{hostKind, vpcKind, subnetKind, endpointKind}

// kindOrder has the place of each kind in Kinds.
var kindOrder = map[string]int{}

func init() {
	for i, k := range Kinds {
		kindOrder[k.Name] = i
	}
}

// kindIndex is the place of a kind in Kinds, -1 for one that does not exist.
func kindIndex(name string) int {
	if i, ok := kindOrder[name]; ok {
		return i
	}
	return -1
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
