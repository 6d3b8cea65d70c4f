package hostnet

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Docker drops what is forwarded and not its own, but asks its chain for others first.
const (
	dockerChain = "DOCKER-USER"
	ourChain    = "OVERLANE"
)

// jump is our one rule in Docker's chain, as iptables lists it.
const jump = "-A " + dockerChain + " -m comment --comment overlane -j " + ourChain

// passDocker has Docker let pass what goes by the SNAT port and by the direct path, on a host where it filters with
// iptables. Where all is as it should be it changes nothing. Call it again and again: other programs flush chains.
func passDocker(ctx context.Context, c Config) (changed bool, err error) {
	docker, err := iptablesRules(ctx, dockerChain)
	if err != nil || docker == nil {
		return false, wrapDocker(err)
	}
	own, err := iptablesRules(ctx, ourChain)
	if err != nil {
		return false, wrapDocker(err)
	}
	var edit []string
	if want := dockerRules(c); !slices.Equal(own, want) {
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
	return true, wrapDocker(restore(ctx, edit))
}

// dockerRules describes our chain, as iptables lists it. It leaves to the nftables table what passes by the direct
// path: that alone leaves packets untracked.
func dockerRules(c Config) []string {
	const untracked = " -m conntrack --ctstate UNTRACKED -j ACCEPT"
	rules := []string{"-N " + ourChain}
	if c.SNAT != nil {
		for _, exit := range c.SNAT.Exits {
			rules = append(rules, fmt.Sprintf("-A %s -i %s -o %s -j ACCEPT", ourChain, SNATPort, exit))
		}
	}
	rules = append(rules, fmt.Sprintf("-A %s -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", ourChain, SNATPort))
	d := c.Direct
	if d == nil {
		return rules
	}
	if len(d.Hosted) > 0 {
		rules = append(rules, "-A "+ourChain+" -o "+SNATPort+untracked)
	}
	for _, e := range d.Edges {
		rules = append(rules, "-A "+ourChain+" -i "+e.Port+untracked)
	}
	if d.IsEdge {
		rules = append(rules, "-A "+ourChain+" -i "+UnderlayPort+untracked, "-A "+ourChain+" -o "+UnderlayPort+untracked)
	}
	return rules
}

// removeFromDocker takes away what was put into Docker's rules.
func removeFromDocker(ctx context.Context) error {
	own, err := iptablesRules(ctx, ourChain)
	if err != nil || own == nil {
		return wrapDocker(err)
	}
	docker, err := iptablesRules(ctx, dockerChain)
	if err != nil {
		return wrapDocker(err)
	}
	return wrapDocker(restore(ctx, append(deletions(jumpsIn(docker)), "-F "+ourChain, "-X "+ourChain)))
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

// iptablesRules gives a chain as iptables lists it, and none where there is no such chain, or no iptables.
func iptablesRules(ctx context.Context, chain string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "iptables", "-w", patience, "-S", chain).Output()
	const noChain = 1 // the exit status; other troubles have a higher one
	var failed *exec.ExitError
	if errors.Is(err, exec.ErrNotFound) || errors.As(err, &failed) && failed.ExitCode() == noChain {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list chain %s: %w", chain, withOutput(err))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// restore does all of it or nothing.
func restore(ctx context.Context, lines []string) error {
	cmd := exec.CommandContext(ctx, "iptables-restore", "-w", patience, "--noflush")
	cmd.Stdin = strings.NewReader("*filter\n" + strings.Join(lines, "\n") + "\nCOMMIT\n")
	_, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("change: %w", withOutput(err))
	}
	return nil
}

// withOutput adds what the command has printed.
func withOutput(err error) error {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", strings.TrimSpace(string(failed.Stderr)), err)
	}
	return err
}
