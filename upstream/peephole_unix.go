// Copyright 2026 The freshbearer authors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

//go:build unix

package upstream

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peephole looks at the socket of an idle connection. There is nothing to be
// seen, or the API has closed it, or has sent what nobody asked for.
type peephole struct {
	// socket is nil if it cannot be looked at.
	socket syscall.RawConn
	// peek is made once, and says in seen what it has found.
	peek func(fd uintptr)
	seen *[1]unix.PollFd
}

func newPeephole(raw net.Conn) peephole {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return peephole{}
	}
	socket, err := sc.SyscallConn()
	if err != nil {
		return peephole{}
	}
	p := peephole{socket: socket, seen: new([1]unix.PollFd)}
	p.peek = func(fd uintptr) {
		p.seen[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		_, err := unix.Poll(p.seen[:], 0)
		for errors.Is(err, unix.EINTR) { // the runtime sends itself signals
			_, err = unix.Poll(p.seen[:], 0)
		}
		if err != nil {
			p.seen[0].Revents = unix.POLLERR
		}
	}
	return p
}

// look tells whether anything can be seen, and whether it can look at all.
func (p *peephole) look() (anything, could bool) {
	if p.socket == nil {
		return false, false
	}
	return p.socket.Control(p.peek) != nil || p.seen[0].Revents != 0, true
}
