package replica

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
)

// TestFollows has a replica follow a store, and looks what it knows and whom it tells, without any server.
func TestFollows(t *testing.T) {
	kept := store.NewMemory(0)
	r, err := New(t.Context(), Config{Store: kept, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { r.Run(ctx) })
	t.Cleanup(work.Wait)
	t.Cleanup(stop)
	watcher, first, err := r.Watch(t.Context(), 8, FromTheStart)
	if err != nil || len(first.Events) != 0 {
		t.Fatalf("an empty store begins with %v, %v", first, err)
	}
	viewer, whole := r.Subscribe("host1", 8)
	if !whole.Complete {
		t.Error("a view does not begin whole")
	}

	writes, err := r.Writes([]model.Change{
		{Action: model.Create, After: &model.Object{Kind: "Host", Name: "host1", Spec: &model.HostSpec{MTU: 1500}}},
		{Action: model.Create, After: &model.Object{Kind: "VPC", Name: "blue", Spec: &model.VPCSpec{TransitVNI: 900}}},
		{Action: model.Create, After: &model.Object{Kind: "Subnet", Name: "blue/web",
			Spec: &model.SubnetSpec{VNI: 100}}},
		{Action: model.Create, After: &model.Object{Kind: "Endpoint", Name: "blue/web/a",
			Spec: &model.EndpointSpec{Host: "host1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kept.Commit(t.Context(), 0, writes)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Await(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range (<-watcher.News()).Events {
		told = append(told, e.Key.String())
	}
	if diff := cmp.Diff([]string{"Endpoint blue/web/a", "Host host1", "Subnet blue/web", "VPC blue"},
		told); diff != "" {
		t.Errorf("the watcher was told (-want +got):\n%s", diff)
	}
	if d := <-viewer.News(); len(d.Segments) != 1 || len(d.Addresses) != 1 {
		t.Errorf("the viewer was told %+v", d)
	}
	subnets := func(s *model.State) iter.Seq[*model.Object] { return s.List("Subnet") }
	if objects, at := r.Objects(subnets); len(objects) != 1 || objects[0].Name != "blue/web" || at != revision {
		t.Errorf("the replica knows %v at %d", objects, at)
	}

	// What this version cannot read is pending, and said to be.
	if _, err := kept.Commit(t.Context(), revision,
		store.Batch{Put: []store.Item{{Key: "object/Gadget/x", Value: []byte("{}")}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Await(t.Context(), revision+1); err != nil {
		t.Fatal(err)
	}
	if r.Complete() == nil {
		t.Error("the replica calls itself complete without an object of the store")
	}
}
