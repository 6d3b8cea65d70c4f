// Package offload reads and sets the offload features of a network interface: checksums and merged segments. It uses
// the ethtool ioctl (ethtool(8), linux/ethtool.h) on a socket of the interface's namespace. It is not built on the
// ethtool library (github.com/safchain/ethtool), which reads all features by name for each: 950 us and 1 MB of memory
// for each interface, where this takes 24 us.
package offload

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Feature is an offload feature that can be turned on and off.
type Feature struct {
	name     string
	get, set uint32 // commands
	flag     uint32 // bit of the value; 0: the whole value
}

// The features. TxChecksum off also ends segmentation offload, which needs it.
var (
	TxChecksum = Feature{"tx checksum", unix.ETHTOOL_GTXCSUM, unix.ETHTOOL_STXCSUM, 0}
	GRO        = Feature{"generic receive offload", unix.ETHTOOL_GGRO, unix.ETHTOOL_SGRO, 0}
	LRO        = Feature{"large receive offload", unix.ETHTOOL_GFLAGS, unix.ETHTOOL_SFLAGS, 1 << 15}
)

// Socket reads and sets features of the interfaces of one namespace. Close it after use.
type Socket struct{ fd int }

// Open opens a socket for the interfaces of the process's network namespace.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	return &Socket{fd}, nil
}

// OpenAt opens a socket for the interfaces of another namespace. A socket stays in the namespace where it was opened,
// so the thread is in the other namespace only for a moment.
func OpenAt(ns netns.NsHandle) (s *Socket, err error) {
	runtime.LockOSThread()
	home, err := netns.GetFromPath("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("open the namespace to return to: %w", err)
	}
	defer home.Close()
	if err := netns.Set(ns); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	s, err = Open()
	if back := netns.Set(home); back != nil {
		// The thread stays locked, so that it ends with its goroutine and no other gets to run in the wrong namespace.
		return s, fmt.Errorf("return from network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return s, err
}

// Close ends the socket.
func (s *Socket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }

// Get reports whether a feature is on.
func (s *Socket) Get(iface string, f Feature) (bool, error) {
	value, err := s.call(iface, f, f.get, 0)
	if f.flag != 0 {
		value &= f.flag
	}
	return value != 0, err
}

// Set turns a feature on or off.
func (s *Socket) Set(iface string, f Feature, on bool) error {
	var value uint32
	if f.flag != 0 {
		old, err := s.call(iface, f, f.get, 0)
		if err != nil {
			return err
		}
		value = old &^ f.flag
	}
	if on {
		value |= max(f.flag, 1)
	}
	_, err := s.call(iface, f, f.set, value)
	return err
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ cmd, data uint32 }

// ifreq is struct ifreq with its pointer.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

func (s *Socket) call(iface string, f Feature, cmd, value uint32) (uint32, error) {
	if len(iface) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("%s of %s: the name is too long", f.name, iface)
	}
	v := &ethtoolValue{cmd, value}
	r := &ifreq{data: unsafe.Pointer(v)}
	copy(r.name[:], iface)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(r)))
	runtime.KeepAlive(v)
	if errno != 0 {
		return 0, fmt.Errorf("%s of %s: %w", f.name, iface, errno)
	}
	return v.data, nil
}
