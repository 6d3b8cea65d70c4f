package attach

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dockerd runs a Docker daemon of its own for a test, in a network namespace, with an image "busybox" that is made
// here.
func dockerd(t testing.TB, ns string) (socket string, docker func(args ...string) string) {
	t.Helper()
	path := newNetns(t, ns)
	dir, err := os.MkdirTemp("/tmp", "ovldocker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "docker.sock")
	data := filepath.Join(dir, "data")
	daemon := exec.Command("nsenter", "--net="+path, "dockerd", "--data-root", data, "--exec-root", filepath.Join(dir, "exec"),
		"-p", filepath.Join(dir, "pid"), "-H", "unix://"+socket, "--bridge=none", "--iptables=false", "--ip-forward=false", "--storage-driver=vfs")
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(daemon.Process.Signal(syscall.SIGTERM), daemon.Wait()); err != nil {
			t.Errorf("stop dockerd: %v", err)
		}
		for _, left := range []string{data, filepath.Join(dir, "exec/netns/default")} { // dockerd leaves these mounts
			_ = syscall.Unmount(left, syscall.MNT_DETACH)
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("dockerd: %s", text)
		}
	})
	docker = func(args ...string) string {
		t.Helper()
		out, err := exec.Command("docker", append([]string{"-H", "unix://" + socket}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for deadline := time.Now().Add(patience); exec.Command("docker", "-H", "unix://"+socket, "info").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("dockerd does not start")
		}
	}
	importBusybox(t, socket)
	return socket, docker
}

func importBusybox(t testing.TB, socket string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(root, "bin/busybox"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, from); err != nil {
		t.Fatal(err)
	}
	to.Close()
	out, err := exec.Command("sh", "-c", "tar -C "+root+" -c . | docker -H unix://"+socket+" import - busybox").CombinedOutput()
	if err != nil {
		t.Fatalf("import image: %v: %s", err, out)
	}
}

// A container without a network gets its interface, keeps it while it runs, and its end is noticed.
func TestDocker(t *testing.T) {
	t.Parallel()
	socket, docker := dockerd(t, "attach-docker")
	docker("create", "--name", "stopped", "--net=none", "busybox", "/bin/busybox", "sleep", "600")
	id := docker("run", "-d", "--name", "db1", "--net=none", "busybox", "/bin/busybox", "sleep", "600")
	docker("run", "-d", "--name", "nosy", "--net=host", "busybox", "/bin/busybox", "sleep", "600")
	for name, want := range map[string]error{"nobody": ErrNotFound, "stopped": ErrNotRunning, "nosy": ErrInvalid} {
		if _, err := Resolve(t.Context(), socket, name); !errors.Is(err, want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Resolve(t.Context(), socket+"x", "db1"); err == nil || !strings.Contains(err.Error(), socket+"x") {
		t.Errorf("no daemon: got %v", err)
	}
	for _, name := range []string{"db1", id, id[:12]} {
		c, err := Resolve(t.Context(), socket, name)
		if err != nil || c.ID != id || c.Name != "db1" || !c.Running || c.NetworkMode != "none" {
			t.Errorf("%s: got %+v, %v", name, c, err)
		}
	}
	c, err := Resolve(t.Context(), socket, "db1")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := request("", "attach-docker", 2)
	r.Netns = c.NetnsPath
	plumbed(t, r)
	if out := docker("exec", "db1", "/bin/busybox", "ip", "addr", "show", "eth0"); !strings.Contains(out, "172.17.42.2/24") || !strings.Contains(out, "mtu 1450") {
		t.Errorf("inside: %s", out)
	}
	docker("kill", "db1")
	awaitGone(t, gone, r.HostIf)
	docker("rm", "-f", "nosy")
}
