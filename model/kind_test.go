package model

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestKindByName(t *testing.T) {
	for _, k := range Kinds {
		for _, name := range []string{k.Name, k.Plural, k.Short, strings.ToLower(k.Name), strings.ToUpper(k.Plural)} {
			if found, ok := KindByName(name); !ok || found.Name != k.Name {
				t.Errorf("%q is %q, want %s", name, found.Name, k.Name)
			}
		}
	}
	if k, ok := KindByName("router"); ok {
		t.Errorf("router is %s", k.Name)
	}
}

// The schema that the API serves, and the help that people read, are made of the tags.
func TestEveryFieldIsDocumented(t *testing.T) {
	for _, k := range Kinds {
		if k.Doc == "" {
			t.Errorf("%s has no doc", k.Name)
		}
		documented(t, k.Name+".spec", reflect.TypeOf(k.New()).Elem())
		documented(t, k.Name+".status", reflect.TypeOf(k.NewStatus()).Elem())
	}
}

func documented(t *testing.T, path string, typ reflect.Type) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := path + "." + f.Name
		if doc := f.Tag.Get("doc"); !strings.HasSuffix(doc, ".") || f.Tag.Get("json") == "" {
			t.Errorf("%s wants a json tag, and a doc tag that is a sentence; it has %q", name, f.Tag)
		}
		inner := f.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		isText := inner.Implements(reflect.TypeFor[encoding.TextMarshaler]())
		if inner.Kind() == reflect.Struct && strings.HasSuffix(inner.PkgPath(), "/model") && !isText {
			documented(t, name, inner)
		}
	}
}

func TestColumns(t *testing.T) {
	changes, err := Admit(NewState(), forwarding(outward(network(1))))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]any{
		"Host": &HostStatus{Ready: true, Datapath: "netdev", Flows: 12, Tunnels: []TunnelStatus{{State: TunnelUp}, {State: TunnelDown}}},
		"VPC":  &VPCStatus{Subnets: 5, Endpoints: EndpointCounts{Total: 3, Ready: 2}}, "Subnet": &SubnetStatus{Endpoints: EndpointCounts{Total: 3, Ready: 2}, Free: 9},
		"Endpoint":        &EndpointStatus{State: Unknown, Reason: "Host host0 is silent"},
		"InternetGateway": &InternetGatewayStatus{Hosts: []string{"edge1", "edge2"}, PublicIPs: 1, SNATAddresses: 2, PortBlocks: 3}, "PublicPool": &PublicPoolStatus{Size: 4, Used: 3, SNAT: 2, Free: 1},
		"PublicIP": &PublicIPStatus{State: PublicPending, Reason: "no host has the role edge", Host: "host0"},
		"Forward":  &ForwardStatus{State: PublicPending, Reason: "Endpoint vpc1/net1/ep1 is not plugged in"},
	}
	want := map[string]string{
		"Host":     "NAME=host0 ADDRESS=192.168.0.0 MTU=1500 ROLES=compute OUTSIDE= READY=yes DATAPATH=netdev TUNNELS=1/2 FLOWS=12",
		"VPC":      "NAME=vpc0 MTU=1450 SUBNETS=5 ENDPOINTS=3 READY=2",
		"Subnet":   "NAME=vpc0/net0 CIDR=10.0.0.0/16 VNI=4096 GATEWAY=10.0.0.1 ENDPOINTS=3 READY=2 FREE=9",
		"Endpoint": "NAME=vpc0/net0/ep0 ADDRESS=10.0.0.2 MAC=02:4f:0a:00:00:02 HOST=host0 STATE=Unknown REASON=Host host0 is silent",

		"InternetGateway": "NAME=vpc0 DESIGN=distributed SNAT=yes HOSTS=edge1,edge2 PUBLIC-IPS=1 SNAT-IPS=2 BLOCKS=3 REASON=",
		"PublicPool":      "NAME=world CIDRS=203.0.113.0/31,203.0.113.2/31 SIZE=4 USED=3 SNAT=2 FREE=1",
		"PublicIP":        "NAME=vpc0/ip0 ADDRESS=203.0.113.0 ENDPOINT=vpc0/net0/ep0 NAT-IP=10.200.0.0 HOST=host0 STATE=Pending REASON=no host has the role edge",
		"Forward":         "NAME=vpc1/web PUBLIC=vpc1/ip1 PROTOCOL=tcp PORT=443 ENDPOINT=vpc1/net1/ep1 TARGET=8443 STATE=Pending REASON=Endpoint vpc1/net1/ep1 is not plugged in",
	}
	without := map[string]string{
		"Host":     "NAME=host0 ADDRESS=192.168.0.0 MTU=1500 ROLES=compute OUTSIDE= READY=- DATAPATH=- TUNNELS=- FLOWS=-",
		"VPC":      "NAME=vpc0 MTU=1450 SUBNETS=- ENDPOINTS=- READY=-",
		"Subnet":   "NAME=vpc0/net0 CIDR=10.0.0.0/16 VNI=4096 GATEWAY=10.0.0.1 ENDPOINTS=- READY=- FREE=-",
		"Endpoint": "NAME=vpc0/net0/ep0 ADDRESS=10.0.0.2 MAC=02:4f:0a:00:00:02 HOST=host0 STATE=- REASON=-",

		"InternetGateway": "NAME=vpc0 DESIGN=distributed SNAT=yes HOSTS=- PUBLIC-IPS=- SNAT-IPS=- BLOCKS=- REASON=-",
		"PublicPool":      "NAME=world CIDRS=203.0.113.0/31,203.0.113.2/31 SIZE=- USED=- SNAT=- FREE=-",
		"PublicIP":        "NAME=vpc0/ip0 ADDRESS=203.0.113.0 ENDPOINT=vpc0/net0/ep0 NAT-IP=10.200.0.0 HOST=- STATE=- REASON=-",
		"Forward":         "NAME=vpc1/web PUBLIC=vpc1/ip1 PROTOCOL=tcp PORT=443 ENDPOINT=vpc1/net1/ep1 TARGET=8443 STATE=- REASON=-",
	}
	for _, k := range Kinds {
		for _, c := range changes {
			if c.Key().Kind != k.Name {
				continue
			}
			o := *c.After
			if got := row(k, o); got != without[k.Name] {
				t.Errorf("got  %s\nwant %s", got, without[k.Name])
			}
			o.Status = status[k.Name]
			if got := row(k, o); got != want[k.Name] {
				t.Errorf("got  %s\nwant %s", got, want[k.Name])
			}
			break
		}
	}
}

func row(k Kind, o Object) string {
	var cells []string
	for _, c := range k.Columns {
		cells = append(cells, c.Header+"="+c.Value(o))
	}
	return strings.Join(cells, " ")
}

func TestStatusUpdateByKind(t *testing.T) {
	updates := []StatusUpdate{
		{Key{"Host", "h"}, &HostStatus{Ready: true, Drops: map[string]uint64{"spoofed": 3}, Revision: 7, Time: time.Unix(5, 0).UTC()}},
		{Key{"Endpoint", "v/s/e"}, &EndpointStatus{State: Unknown, Reason: "gone", Host: "h", Port: "ovl1"}},
	}
	for _, want := range updates {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got StatusUpdate
		if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %+v (%v)", data, got, err)
		}
	}
	for _, bad := range []string{`{"key":{"kind":"Router","name":"r"},"status":{}}`, `{"key":{"kind":"Host","name":"h"}}`, `{"key":{"kind":"Host","name":"h"},"status":{"flows":"many"}}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), new(StatusUpdate)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
