package agent

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// logged is what was logged so far.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), words)
}

// A host whose OVSDB, or whose switch, is away is not ready, says what it waits for, and says when it is back.
func TestSwitchIsAwayAndBack(t *testing.T) {
	t.Parallel()
	s, o := newPretendServer(), dummySwitch(t)
	log := &logged{}
	a, _ := startLogging(t, s, o.Dir, t.TempDir(), log)
	ready := func() bool { return a.intent.complete && a.reason() == "" }
	away := func(words string) func() bool { return func() bool { return strings.Contains(a.reason(), words) } }
	a.eventually(t, "the host to be ready", ready)

	o.StopDB()
	a.eventually(t, "the host to say that OVSDB is away", away("ovsdb-server does not answer"))
	o.StartDB()
	a.eventually(t, "the host to be ready", ready)
	poll(t, "the log says so", func() bool { return log.count("connected to ovsdb-server again") == 1 })

	o.StopSwitchd()
	a.eventually(t, "the host to say that the switch is away", away("no connection to the switch"))
	o.StartSwitchd()
	a.eventually(t, "the host to be ready", ready)
	poll(t, "the log says so", func() bool { return log.count("connected to Open vSwitch") >= 2 })
}
