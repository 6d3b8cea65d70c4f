package main

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strconv"
	"strings"
)

// The guest's ports, as the kernel names them. The first number depends on the order of devices.
const (
	stdoutPort = "/dev/vport*p1"
	stderrPort = "/dev/vport*p2"
	statusPort = "/dev/vport*p3"
)

// rootTag names the file system that virtiofsd serves.
const rootTag = "root"

// qemu is QEMU's command line.
func (m machine) qemu(img image, scratch string) []string {
	at := func(name string) string { return filepath.Join(scratch, name) }
	argv := []string{
		"qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35,smm=off,hpet=off,memory-backend=memory", "-vga", "none",
		"-cpu", "max,-la57", "-smp", strconv.Itoa(m.cpus),
		"-m", m.memory, "-object", "memory-backend-memfd,id=memory,share=on,size=" + m.memory, // virtiofsd shares it
		"-kernel", img.vmlinuz, "-initrd", img.initrd, "-append", kernelArguments(scratch),
		"-chardev", "file,id=console,path=" + at(consoleFile), "-serial", "chardev:console",
		"-chardev", "socket,id=files,path=" + at(fsSocket), "-device", "vhost-user-fs-pci,chardev=files,tag=" + rootTag,
		"-device", "virtio-serial-pci",
	}
	argv = append(argv, m.clock()...)
	for i, socket := range []string{stdoutSocket, stderrSocket, statusSocket} {
		id := fmt.Sprintf("out%d", i+1)
		argv = append(argv, "-chardev", fmt.Sprintf("socket,id=%s,path=%s", id, at(socket)), "-device", fmt.Sprintf("virtserialport,nr=%d,chardev=%s", i+1, id))
	}
	if m.wire != [2]string{} {
		argv = append(argv, "-netdev", fmt.Sprintf("dgram,id=wire,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", m.wire[0], m.wire[1]),
			"-device", "virtio-net-pci,netdev=wire,mac="+mac(m.job.Name))
	}
	return argv
}

// clock has the guest's time go by the instructions that it has executed, a billion in a second: where the machine is
// busy, the guest is slow, but nothing in it has less time. Guests with a wire between them have the machine's time in
// common instead. Not KVM: some machines offer one that does not work.
func (m machine) clock() []string {
	if m.wire != [2]string{} {
		return []string{"-accel", "tcg,thread=multi,tb-size=512"}
	}
	return []string{"-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=0"}
}

// kernelArguments leave out what costs time under emulation. What has no meaning for the kernel is in init's
// environment.
func kernelArguments(scratch string) string {
	return strings.Join([]string{
		"console=ttyS0", "quiet", "loglevel=4", "panic=-1",
		"mitigations=off", "nokaslr", "audit=0", "nmi_watchdog=0", "cryptomgr.notests", "random.trust_cpu=on",
		"softlockup_panic=1", "watchdog_thresh=30", // a kernel that hangs for a minute is to end, and to say so
		"tsc=reliable", "no_timer_check", "rcupdate.rcu_expedited=1", "net.ifnames=0",
		jobVariable + "=" + filepath.Join(scratch, jobFile),
	}, " ")
}

// mac is a guest's own, by its name.
func mac(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	sum := h.Sum32()
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", byte(sum>>16), byte(sum>>8), byte(sum))
}
