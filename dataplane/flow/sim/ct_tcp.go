package sim

// tcpState is what is known of one side of a TCP connection, in OVS's order (lib/ct-dpif.h).
type tcpState uint8

const (
	tcpClosed tcpState = iota
	tcpSynSent
	tcpEstablished
	tcpClosing // has sent FIN
	tcpFinWait // and that was acknowledged
	tcpTimeWait
)

// TCP's flags (RFC 9293 section 3.1).
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpPSH
	tcpACK
	tcpURG
)

// validTCP refuses combinations of flags that make no sense.
func validTCP(flags uint8) bool {
	switch {
	case flags&tcpSYN != 0 && flags&(tcpRST|tcpFIN) != 0, flags&(tcpSYN|tcpACK|tcpRST) == 0:
		return false
	}
	return flags&tcpACK != 0 || flags&(tcpFIN|tcpPSH|tcpURG) == 0
}

// tcpUpdate is what a packet of a known connection is to it.
type tcpUpdate uint8

const (
	updateValid   tcpUpdate = iota
	updateInvalid           // not a packet that it can have
	updateNew               // SYN once more
	updateAgain             // SYN after its end: it makes way for a new one
)

// updateTCP follows tcp_conn_update in OVS's lib/conntrack-tcp.c, without sequence numbers.
func (c *conn) updateTCP(flags uint8, reply bool) tcpUpdate {
	src, dst := &c.tcp[0], &c.tcp[1]
	if reply {
		src, dst = dst, src
	}
	switch {
	case !validTCP(flags):
		return updateInvalid
	case flags&(tcpSYN|tcpACK) != tcpSYN:
	case *src >= tcpFinWait && *dst >= tcpFinWait:
		return updateAgain
	case *src <= tcpSynSent:
		*src = tcpSynSent
		return updateNew
	}
	*src = max(*src, tcpSynSent)
	if flags&tcpFIN != 0 {
		*src = max(*src, tcpClosing)
	}
	switch {
	case flags&tcpACK == 0:
	case *dst == tcpSynSent:
		*dst = tcpEstablished
	case *dst == tcpClosing:
		*dst = tcpFinWait
	}
	if flags&tcpRST != 0 {
		*src, *dst = tcpTimeWait, tcpTimeWait
	}
	return updateValid
}
