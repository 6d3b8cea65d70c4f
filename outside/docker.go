package outside

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Docker drops what is forwarded and not its own, but asks this chain first. It leaves alone what others put there.
const (
	dockerChain = "DOCKER-USER"
	ourChain    = "OVERLANE"
)

// jump is our one rule in Docker's chain, as iptables lists it.
const jump = "-A " + dockerChain + " -m comment --comment overlane -j " + ourChain

// LetDocker has Docker let pass what goes by the way and, unless that is nil, what is carried over the underlay, on a host where it filters with
// iptables. Where all is as it should be it changes nothing. Call it again and again: other programs flush chains.
func LetDocker(ctx context.Context, w Way, exits []string, n *Native) (changed bool, err error) {
	docker, err := rules(ctx, dockerChain)
	if err != nil || docker == nil {
		return false, wrapDocker(err)
	}
	own, err := rules(ctx, ourChain)
	if err != nil {
		return false, wrapDocker(err)
	}
	want := []string{"-N " + ourChain}
	for _, exit := range exits {
		want = append(want, fmt.Sprintf("-A %s -i %s -o %s -j ACCEPT", ourChain, w.Port, exit))
	}
	want = append(want, fmt.Sprintf("-A %s -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", ourChain, w.Port))
	if n != nil {
		want = append(want, n.letPass()...)
	}
	var edit []string
	if !slices.Equal(own, want) {
		edit = append(edit, ":"+ourChain+" - [0:0]") // which empties it as well
		edit = append(edit, want[1:]...)
	}
	if jumps := jumpsIn(docker); len(jumps) != 1 || !reached(docker) {
		edit = append(edit, deletions(jumps)...)
		edit = append(edit, strings.Replace(jump, "-A "+dockerChain, "-I "+dockerChain+" 1", 1))
	}
	if edit == nil {
		return false, nil
	}
	return true, wrapDocker(apply(ctx, edit))
}

// letPass leaves it to the firewall what passes. That takes for untracked what is carried, and nothing else.
func (n Native) letPass() (rules []string) {
	const untracked = " -m conntrack --ctstate UNTRACKED -j ACCEPT"
	if len(n.Hosted) > 0 {
		rules = append(rules, "-A "+ourChain+" -o "+n.Outside+untracked)
	}
	for _, e := range n.Edges {
		rules = append(rules, "-A "+ourChain+" -i "+e.Port+untracked)
	}
	if n.Passage != "" {
		rules = append(rules, "-A "+ourChain+" -i "+n.Passage+untracked, "-A "+ourChain+" -o "+n.Passage+untracked)
	}
	return rules
}

// RemoveWay takes the route and the address away again. Sysctls stay as they are, and the interface is its bridge's.
func RemoveWay(w Way) error {
	err := w.check()
	if err != nil {
		return w.wrap(err)
	}
	link, err := netlink.LinkByName(w.Port)
	if notFound(err) {
		err = nil
	} else if err == nil {
		err = (&ensuring{Way: w, port: port{link: link}}).remove()
	}
	return w.wrap(err)
}

// ForgetDocker takes away what was put into Docker's rules.
func ForgetDocker(ctx context.Context) error { return wrapDocker(forgetDocker(ctx)) }

func forgetDocker(ctx context.Context) error {
	own, err := rules(ctx, ourChain)
	if err != nil || own == nil {
		return err
	}
	docker, err := rules(ctx, dockerChain)
	if err != nil {
		return err
	}
	return apply(ctx, append(deletions(jumpsIn(docker)), "-F "+ourChain, "-X "+ourChain))
}

func wrapDocker(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("rules in Docker's chain %s: %w", dockerChain, err)
}

// jumpsIn gives the rules that lead to our chain, whoever has made them: a chain that is led to cannot be removed.
func jumpsIn(docker []string) (jumps []string) {
	for _, r := range docker {
		if strings.HasSuffix(r, " -j "+ourChain) {
			jumps = append(jumps, r)
		}
	}
	return jumps
}

// reached tells whether our rule is before the end of the chain. Others may come before it, and then mean to.
func reached(docker []string) bool {
	ours, end := slices.Index(docker, jump), slices.Index(docker, "-A "+dockerChain+" -j RETURN")
	return ours >= 0 && (end < 0 || ours < end)
}

func deletions(rules []string) (lines []string) {
	for _, r := range rules {
		lines = append(lines, strings.Replace(r, "-A ", "-D ", 1))
	}
	return lines
}

// patience is how many seconds iptables waits for others that are at work.
const patience = "5"

// rules gives a chain as iptables lists it, and none where there is no such chain, or no iptables.
func rules(ctx context.Context, chain string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "iptables", "-w", patience, "-S", chain).Output()
	const noChain = 1 // the exit status; those of other troubles are higher
	var failed *exec.ExitError
	if errors.Is(err, exec.ErrNotFound) || errors.As(err, &failed) && failed.ExitCode() == noChain {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list chain %s: %w", chain, said(err))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// apply does all of it or nothing.
func apply(ctx context.Context, lines []string) error {
	cmd := exec.CommandContext(ctx, "iptables-restore", "-w", patience, "--noflush")
	cmd.Stdin = strings.NewReader("*filter\n" + strings.Join(lines, "\n") + "\nCOMMIT\n")
	_, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("change: %w", said(err))
	}
	return nil
}

// said adds what the command has printed.
func said(err error) error {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", strings.TrimSpace(string(failed.Stderr)), err)
	}
	return err
}
