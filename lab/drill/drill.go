// Package drill kills a part of a lab while connections from inside and outside run over it, and measures what they
// lose. What loads them are processes on the lab's machines, which this package has the code of as well. It prints
// nothing.
package drill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/overlane/overlane/lab"
)

// Options say how a drill is done. Kind and Design are required.
type Options struct {
	Kind   Kind
	Design string
	Mode   string        // by which a host fails; empty: the kind's first
	Phase  time.Duration // that is measured after the failure, and after its end

	// Watch hears of every slice of time, when what was sent in it has had time to come back.
	Watch func(Moment)
}

// Check refuses what the kind is not for.
func (o Options) Check() error { return o.Kind.check(o.Design, o.Mode) }

// Slice is the length of a moment.
const Slice = 250 * time.Millisecond

// Moment is a slice of time.
type Moment struct {
	At      time.Duration // its end, since the start of the load
	In, Out *Tick         // nil: the design has no such direction
	Marks   []Mark        // in it
}

// Mark is something that was done.
type Mark struct {
	At   time.Duration
	What string
	Bad  bool // a failure
}

// Result is what a drill has shown.
type Result struct {
	Drill      string   `json:"drill"`
	Design     string   `json:"design"`
	NotWorking string   `json:"notWorking,omitempty"` // why the drill could not begin
	Phases     []Phase  `json:"phases,omitempty"`
	Alarms     *Alarms  `json:"alarms,omitempty"` // nil: they were not counted
	Moments    []Moment `json:"-"`
}

// Phase is the time before the failure, from it on, or from its end on.
type Phase struct {
	What   string   `json:"what"`
	In     *Figures `json:"in,omitempty"` // nil: the design has no such direction
	Out    *Figures `json:"out"`
	Failed string   `json:"failed,omitempty"` // what did not work at the end
}

// Check says whether the drill was what a drill is: all worked before, and works again.
func (r Result) Check() error {
	if r.NotWorking != "" {
		return fmt.Errorf("%s, %s: not working: %s", r.Drill, r.Design, r.NotWorking)
	}
	for _, p := range r.Phases {
		if p.Failed != "" {
			return fmt.Errorf("%s, %s: %s: %s", r.Drill, r.Design, p.What, p.Failed)
		}
	}
	return nil
}

// connections are the TCP connections in each direction.
const connections = 8

// The load runs this long before the failure, and to its end packets have this long to come back.
const (
	settleTime = 2 * time.Second
	lastTime   = time.Second
)

// File is the lab of the drills, with its intent copied out of the examples into a folder.
func File(examples fs.FS, into string) (lab.File, error) {
	if err := os.CopyFS(into, examples); err != nil {
		return lab.File{}, fmt.Errorf("copy examples: %w", err)
	}
	return lab.ReadFile(filepath.Join(into, "internet.lab.yaml"))
}

// Run does a drill. A path that does not work is a result; an error is the lab's, or this program's. Whatever was
// broken is mended.
func Run(ctx context.Context, l *lab.Lab, o Options) (Result, error) {
	r := &run{Options: o, lab: l, result: Result{Drill: o.Kind.Name, Design: o.Design}}
	if err := o.Check(); err != nil {
		return r.result, err
	}
	err := r.do(ctx)
	if ctx.Err() != nil {
		return r.result, ctx.Err()
	}
	if why := new(notWorking); errors.As(err, &why) {
		r.result.NotWorking = strings.ReplaceAll(why.Error(), "\n", "; ")
		err = nil
	}
	return r.result, err
}

// notWorking is why a drill cannot begin.
type notWorking struct{ error }

type run struct {
	Options
	lab     *lab.Lab
	in, out *direction // in is nil if the design has none
	result  Result

	mu     sync.Mutex
	stages []stage
}

// stage is a phase that has begun.
type stage struct {
	from    time.Time
	what    string
	failure bool
}

func (r *run) do(ctx context.Context) (err error) {
	intent, err := readIntent(ctx, r.lab)
	if err != nil {
		return err
	}
	p, err := pathOf(r.lab, intent, r.Design)
	if err != nil {
		return &notWorking{err}
	}
	for _, at := range p.answerers() {
		answerer, err := at.startAnswer(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, answerer.stop()) }()
	}
	r.in, r.out = p.inbound(connections), p.outbound(connections)
	struck, err := p.steadyAim(ctx, r.in, r.out)
	if err != nil {
		return &notWorking{errors.Join(err, intent.saidOf(p))}
	}
	return r.measure(ctx, r.Kind.plan(target{r.lab, p.host, struck, r.Mode, r.directions()}))
}

func (p path) answerers() []location {
	all := []location{{machine: p.server}}
	if p.public.IsValid() {
		all = append(all, p.endpoint())
	}
	return all
}

// directions are the directions that the design has.
func (r *run) directions() (all []*direction) {
	if r.in != nil {
		all = append(all, r.in)
	}
	return append(all, r.out)
}

// measure loads the path, has it fail, and mends it.
func (r *run) measure(ctx context.Context, f failure) (err error) {
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.load(ctx); err != nil {
		return err
	}
	r.begin("before", false)
	showing, stopShowing := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() { defer close(shown); r.show(showing) }()
	if r.Kind.alarms {
		r.result.Alarms, err = r.alarms(ctx, func() error { return r.play(ctx, f) })
	} else {
		err = r.play(ctx, f)
	}
	end := time.Now().Add(-lastTime)
	stopShowing()
	<-shown
	if err == nil {
		r.tell(end)
		r.result.Phases = r.phases(end)
	}
	return err
}

// load starts all that sends, and waits until every connection is open.
func (r *run) load(ctx context.Context) error {
	for _, d := range r.directions() {
		if err := errors.Join(d.startProbe(ctx), d.startTalk(ctx)); err != nil {
			return err
		}
	}
	for _, d := range r.directions() {
		if err := d.talks(ctx); err != nil {
			return &notWorking{err}
		}
	}
	return nil
}

func (r *run) stop() (err error) {
	for _, d := range r.directions() {
		err = errors.Join(err, d.stop())
	}
	return err
}

// play is the drill itself. What was broken is mended even if ctx ends.
func (r *run) play(ctx context.Context, f failure) (err error) {
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	broken := f.undo != nil
	defer func() {
		if broken {
			err = errors.Join(err, f.undo(context.WithoutCancel(ctx)))
		}
	}()
	r.begin(f.what, true)
	if err := errors.Join(f.do(ctx), pause(ctx, r.Phase)); err != nil {
		return err
	}
	if f.undo != nil {
		r.begin(f.undone, false)
		if err := errors.Join(f.undo(ctx), pause(ctx, r.Phase)); err != nil {
			return err
		}
		broken = false
	}
	return pause(ctx, lastTime)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// begin begins a phase. A probe that is on its way belongs to it.
func (r *run) begin(what string, failure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stages = append(r.stages, stage{time.Now().Add(-probeEvery), what, failure})
}

// show tells of moments as they pass, a slice late: what was sent must have had time to come back.
func (r *run) show(ctx context.Context) {
	for range every(ctx, Slice) {
		r.tell(time.Now().Add(-Slice))
	}
}

// tell tells of all moments before a time that have not been told of.
func (r *run) tell(until time.Time) {
	r.mu.Lock()
	stages := slices.Clone(r.stages)
	r.mu.Unlock()
	start, told := stages[0].from, len(r.result.Moments)
	n := max(int(until.Sub(start)/Slice), told)
	in, out := r.in.ticksOf(start, n), r.out.ticksOf(start, n)
	for i := told; i < n; i++ {
		m := Moment{At: time.Duration(i+1) * Slice, Out: &out[i]}
		if r.in != nil {
			m.In = &in[i]
		}
		for _, s := range stages[1:] {
			if at := s.from.Sub(start); at/Slice == time.Duration(i) {
				m.Marks = append(m.Marks, Mark{at, s.what, s.failure})
			}
		}
		r.result.Moments = append(r.result.Moments, m)
		if r.Watch != nil {
			r.Watch(m)
		}
	}
}

// ticksOf are none of a direction that is not there.
func (d *direction) ticksOf(from time.Time, n int) []Tick {
	if d == nil {
		return nil
	}
	return d.ticks(from, Slice, n)
}

// phases are all, of which the last ends at a time.
func (r *run) phases(end time.Time) (all []Phase) {
	for i, s := range r.stages {
		to := end
		if i+1 < len(r.stages) {
			to = r.stages[i+1].from
		}
		p := Phase{What: s.what}
		for d, f := range map[*direction]**Figures{r.in: &p.In, r.out: &p.Out} {
			if d != nil {
				measured := d.figures(s.from, to)
				*f = &measured
			}
		}
		all = append(all, p)
	}
	last := &all[len(all)-1]
	for _, d := range r.directions() {
		if f := d.figures(end.Add(-lastTime), end); f.Lost == f.Sent {
			last.Failed = fmt.Sprintf("nothing comes back from %s in the end", d.to.Addr())
		}
	}
	return all
}
