// Package vswitch is the part of Open vSwitch's database that Overlane uses, as Go types made by libovsdb's modelgen from
// schema.json. That schema is cut down from vswitch.ovsschema on purpose: libovsdb refuses a server that lacks any column of the
// model, and these columns are in every Open vSwitch since 2.8. It never connects to anything.
package vswitch

//go:generate go run github.com/ovn-kubernetes/libovsdb/cmd/modelgen --extended -p vswitch -o . schema.json
