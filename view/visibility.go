package view

import (
	"github.com/overlane/overlane/model"
	"iter"
	"slices"
)

// sight is which public addresses and port blocks of a VPC a host is told of.
type sight int

const (
	blind sight = iota // none: it has nothing to do with the VPC, or that has no gateway
	own                // its own, and those of its own endpoints
	all                // those of all hosts: it is a passage
)

func (t *Tracker) sight(host, vpc string) sight {
	g, ok := t.gateways[vpc]
	if !ok {
		return blind
	}
	if _, passage := slices.BinarySearch(g.Passages, host); passage {
		return all
	}
	if t.members[vpc][host] > 0 {
		return own
	}
	return blind
}

// told is one of what a VPC is reached by from outside: a Public, a Forward or a Block.
type told[K comparable] interface {
	comparable
	Row[K]
	onHost() string
}

// teller is how a host is told of one kind of them, of one VPC.
type teller[K comparable, V told[K]] struct {
	touched map[string]bool         // names
	known   map[string]map[string]V // what it has been told, by VPC and name
	now     func(name string) (V, bool)
	own     iter.Seq[string] // names of those of the host and of its endpoints
	all     iter.Seq[*model.Object]
	tell    *[]V
	gone    *[]K
}

// tellOutside is about those that were touched, or about all that the host sees or has been told of if it sees others than before.
func tellOutside[K comparable, V told[K]](t *Tracker, host, vpc string, whole bool, o teller[K, V]) {
	was, now := t.hosts[host].sights[vpc], t.sight(host, vpc)
	if was == blind && now == blind {
		return
	}
	known := o.known[vpc]
	if known == nil {
		known = map[string]V{}
		o.known[vpc] = known
	}
	names := o.touched
	if was != now || whole {
		names = o.seen(known, now)
	}
	for name := range names {
		old, had := known[name]
		v, has := o.now(name)
		has = has && (now == all || now == own && v.onHost() == host)
		if had && (!has || old.Key() != v.Key()) {
			delete(known, name)
			*o.gone = append(*o.gone, old.Key())
		}
		if has && (!had || old != v) {
			known[name] = v
			*o.tell = append(*o.tell, v)
		}
	}
	if now == blind {
		delete(o.known, vpc)
	}
}

// seen names those that a host sees, and those that it has been told of.
func (o teller[K, V]) seen(known map[string]V, sight sight) map[string]bool {
	names := map[string]bool{}
	for name := range known {
		names[name] = true
	}
	switch sight {
	case own:
		for name := range o.own {
			names[name] = true
		}
	case all:
		for object := range o.all {
			names[object.Name] = true
		}
	}
	return names
}

// look remembers what a host sees of a VPC, once it has been told of it.
func (t *Tracker) look(host, vpc string) {
	if now := t.sight(host, vpc); now == blind {
		delete(t.hosts[host].sights, vpc)
	} else {
		t.hosts[host].sights[vpc] = now
	}
}

// keepHandedOn takes what one public IP, forward or port block has lost and another one has now out of what is gone.
func (d *Delta) keepHandedOn() {
	d.GonePublics = without(d.GonePublics, d.Publics)
	d.GoneForwards = without(d.GoneForwards, d.Forwards)
	d.GoneBlocks = without(d.GoneBlocks, d.Blocks)
}

// without is the keys of what is gone but for those that are told.
func without[K comparable, V told[K]](gone []K, news []V) []K {
	if len(gone) == 0 || len(news) == 0 {
		return gone
	}
	kept := map[K]bool{}
	for _, v := range news {
		kept[v.Key()] = true
	}
	return slices.DeleteFunc(gone, func(key K) bool { return kept[key] })
}
