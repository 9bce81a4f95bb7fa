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

package upstream

import (
	"sync"
	"time"
)

// pool keeps the connections that nobody uses. The one that was used last is
// taken first, so that those that are too many become old.
type pool struct {
	mu   sync.Mutex
	idle map[origin][]*conn
	// sweeper closes the old ones. It is nil while there is nothing to close.
	sweeper *time.Timer
}

// take returns a connection that can be used, or nil.
func (p *pool) take(to origin) *conn {
	for {
		p.mu.Lock()
		list := p.idle[to]
		if len(list) == 0 {
			p.mu.Unlock()
			return nil
		}
		last := len(list) - 1
		c := list[last]
		list[last] = nil
		p.idle[to] = list[:last]
		p.mu.Unlock()
		if c.quiet() {
			return c
		}
		c.close()
	}
}

// put keeps a connection, or closes it if there are enough.
func (p *pool) put(c *conn) {
	t := c.transport
	p.mu.Lock()
	list := p.idle[c.to]
	if len(list) >= t.MaxIdle {
		p.mu.Unlock()
		c.close()
		return
	}
	if p.idle == nil {
		p.idle = make(map[origin][]*conn)
	}
	c.idleSince = time.Now()
	p.idle[c.to] = append(list, c)
	if p.sweeper == nil {
		p.sweeper = time.AfterFunc(t.IdleTimeout, func() { p.sweep(t.IdleTimeout) })
	}
	p.mu.Unlock()
}

// sweep closes what nobody has used for so long.
func (p *pool) sweep(most time.Duration) {
	var old []*conn
	now := time.Now()
	next := time.Duration(-1)
	p.mu.Lock()
	for to, list := range p.idle {
		n := 0
		for n < len(list) && now.Sub(list[n].idleSince) >= most {
			n++
		}
		old = append(old, list[:n]...)
		if n == len(list) {
			delete(p.idle, to)
			continue
		}
		p.idle[to] = append([]*conn(nil), list[n:]...)
		if left := most - now.Sub(list[n].idleSince); next < 0 || left < next {
			next = left
		}
	}
	if next < 0 {
		p.sweeper = nil
	} else {
		p.sweeper.Reset(next)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

func (p *pool) closeAll() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, list := range idle {
		for _, c := range list {
			c.close()
		}
	}
}
