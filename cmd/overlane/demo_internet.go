package main

import (
	"context"
	"fmt"
	"time"

	"github.com/overlane/overlane/lab/article"
	"github.com/overlane/overlane/lab/drill"
)

const internetPicture = `
        client 198.51.100.10        server 198.51.100.20
                └──────── internet ─────────┘
                            router
          ┌──────────┬────────┴──┬──────────┐
       gateway1   gateway2     edge1      edge2       1.22.3.0/24 by gateways, 1.22.4.0/24 by edges
          └── VXLAN ──┐           ┌─ plain ─┘
                    host1       host2
`

// internetAct is the second one: both designs of an internet gateway, and what they lose when a part of them dies.
func (e *env) internetAct(ctx context.Context) ([]checkResult, error) {
	e.headline("Second act: the internet, by gateways and by edges")
	fmt.Fprintln(e.out, e.palette.dim(internetPicture))
	l, down, err := e.drillLab(ctx, drillLab{}, false)
	if err != nil {
		return nil, err
	}
	results := e.runChecks(ctx, article.InternetChecks(l), time.Time{})
	for _, d := range []struct{ kind, design, what string }{
		{"gateway", "central", "a gateway dies, and no connection is lost"},
		{"edge", "distributed", "an edge dies, and no connection is lost"},
	} {
		if ctx.Err() != nil {
			break
		}
		start := time.Now()
		err := e.showDrill(ctx, d.kind, d.design, func(o drill.Options) (drill.Result, error) { return drill.Run(ctx, l, o) })
		results = append(results, checkResult{d.what, err, time.Since(start)})
	}
	return results, down()
}

// showDrill does a short drill. What it loses is a figure, but no connection is to be among it.
func (e *env) showDrill(ctx context.Context, kind, design string, run func(drill.Options) (drill.Result, error)) error {
	e.headline(fmt.Sprintf("Drill %s, design %s", kind, design))
	k, err := drill.KindNamed(kind)
	if err != nil {
		return err
	}
	r, err := run(drill.Options{Kind: k, Design: design, Phase: 3 * time.Second, Watch: e.drillLine})
	if err != nil {
		return err
	}
	if len(r.Moments) > 0 {
		e.drillPicture(r.Moments)
	}
	drillTable([]drill.Result{r}).print(e.out, e.palette)
	if err := r.Check(); err != nil {
		return err
	}
	for _, p := range r.Phases {
		if both := p.Both(); both.Kept < both.Connections {
			return fmt.Errorf("%d of %d connections were lost: %s", both.Connections-both.Kept, both.Connections, p.What)
		}
	}
	return ctx.Err()
}
