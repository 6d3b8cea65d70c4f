// Command kernel runs a command as root under a kernel that has Open vSwitch's kernel datapath, on a machine whose own
// kernel has not: Debian's cloud kernel in QEMU, by software emulation. The guest sees this machine's files read-only,
// below a file system in its memory, so that nothing it does outlives it and two guests share nothing but a wire.
//
//	kernel [FLAGS] COMMAND [ARGUMENT...]
//
// Standard output, standard error and the exit status are the command's; 124 says that it took too long, 125 that the
// guest died. It is one static program in three places: started by the user, as the first process of a namespace that
// holds QEMU, and as the guest's first process. It needs root, Debian's package archive, and the packages
// qemu-system-x86 and kmod. Tried on Debian 12 only.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	statusTimeout = 124
	statusDied    = 125
)

// hostStage is the program's name as the first process of the namespace that holds QEMU.
const hostStage = "kernel-host"

func main() {
	switch os.Args[0] {
	case "/init":
		guest()
	case hostStage:
		os.Exit(inside(os.Args[1:]))
	}
	m, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		os.Exit(2)
	}
	status, err := m.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		os.Exit(statusDied)
	}
	os.Exit(status)
}

// machine is what the command line asks for.
type machine struct {
	job    job
	memory string
	cpus   int
	wire   [2]string // unix sockets of the two ends of a wire, ours first; empty for no wire
}

// job is what the guest is told: a JSON file.
type job struct {
	Argv    []string
	Env     []string
	Dir     string
	Name    string        // host name
	Timeout time.Duration // of the command
	Uptime  time.Duration // least uptime before the command
	Load    []string      // kernel modules
	Modules string        // folder of all modules of this kernel
}

// switchdUptime is when ovs-vswitchd 3.1.0 may start: in a guest's first ten seconds it counts no CPUs, starts no
// handler threads, and every packet that misses the kernel's cache is lost (fixed in 3.1.1).
const switchdUptime = 11 * time.Second

func parse(args []string) (machine, error) {
	var m machine
	var wire, load string
	f := flag.NewFlagSet("kernel", flag.ContinueOnError)
	f.DurationVar(&m.job.Timeout, "timeout", 5*time.Minute, "for the command, by the guest's clock; then the exit status is 124")
	f.DurationVar(&m.job.Uptime, "uptime", switchdUptime, "least uptime of the guest before the command; ovs-vswitchd 3.1.0 needs its ten seconds")
	f.StringVar(&m.job.Name, "name", "guest", "host name of the guest")
	f.StringVar(&load, "load", "openvswitch,vport-vxlan,tun", "kernel modules to load first, with commas")
	f.StringVar(&m.memory, "memory", "2048M", "memory of the guest, which holds all that it writes")
	f.IntVar(&m.cpus, "cpus", 1, "processors of the guest; with several, QEMU 7.2's emulation now and then locks the kernel up")
	f.StringVar(&wire, "wire", "", "`OURS,THEIRS`: plug eth0 into a wire to another guest; two paths for unix sockets")
	if err := f.Parse(args); err != nil {
		return m, err
	}
	if m.job.Argv = f.Args(); len(m.job.Argv) == 0 {
		return m, errors.New("no command")
	}
	if wire != "" {
		ours, theirs, ok := strings.Cut(wire, ",")
		if !ok {
			return m, fmt.Errorf("-wire %s: want two paths with a comma between", wire)
		}
		m.wire = [2]string{ours, theirs}
	}
	m.job.Load = strings.FieldsFunc(load, func(r rune) bool { return r == ',' })
	if wire != "" {
		m.job.Load = append(m.job.Load, "virtio_net")
	}
	m.job.Env = os.Environ()
	var err error
	m.job.Dir, err = os.Getwd()
	return m, err
}
