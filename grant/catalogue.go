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

package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// directoryKept is how long the directory is kept current for nobody.
const directoryKept = 10 * time.Minute

// directory is what is known of all connections, while somebody asks.
type directory struct {
	// mu is held for moments, because those who store tokens wait for it.
	mu      sync.Mutex
	current *catalogue // nil while nobody asks
	askedAt time.Time
}

// catalogue is one making of the directory: the store was read once, and every
// write since the beginning of that is known.
type catalogue struct {
	// made is closed when the store has been read; err says if it could not be.
	made chan struct{}
	err  error

	// news are the rows that were written and are not among the others yet; nil
	// for a record that was deleted. doubtful are the connections of writes
	// that may have been carried out, or not. Both are the directory's mu's.
	news     map[rowKey]*row
	doubtful map[tokenstore.Key]bool

	// turn is taken by who changes what follows.
	turn chan struct{}
	// order is sorted. Who reads it needs no lock: it is never sorted anew, and
	// a row gives way to another one only in the same place.
	order   order
	damaged int
}

// order are rows in the order of a Listing.
type order []atomic.Pointer[row]

// note takes down what is stored now; nil for nothing. It is called in the
// order of the writes of a connection.
func (d *directory) note(key tokenstore.Key, r *tokenstore.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.current
	if c == nil {
		return
	}
	delete(c.doubtful, key)
	if r == nil {
		c.news[keyOf(key)] = nil
		return
	}
	c.news[keyOf(key)] = newRow(r.Brief())
}

// doubt takes down that nobody knows what is stored.
func (d *directory) doubt(key tokenstore.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		d.current.doubtful[key] = true
	}
}

// ordered returns what is known of all connections, sorted, and how many
// records are damaged.
func (k *Keeper) ordered(ctx context.Context) (rows order, damaged int, err error) {
	if err := k.begin(); err != nil {
		return nil, 0, err
	}
	defer k.work.Done()
	c := k.catalogue()
	select {
	case <-c.made:
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("waiting for the list of connections: %w", ctx.Err())
	}
	if c.err != nil {
		return nil, 0, c.err
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, fmt.Errorf("waiting for the list of connections: %w", ctx.Err())
	}
	defer func() { <-c.turn }()
	k.resolveDoubts(ctx, c)
	k.directory.mu.Lock()
	news := c.news
	c.news = make(map[rowKey]*row)
	k.directory.mu.Unlock()
	c.bring(news)
	return c.order, c.damaged, nil
}

// catalogue returns the one there is, or begins one.
func (k *Keeper) catalogue() *catalogue {
	d := &k.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	d.askedAt = k.clock.Now()
	if d.current == nil {
		d.current = &catalogue{
			made: make(chan struct{}), turn: make(chan struct{}, 1),
			news: make(map[rowKey]*row), doubtful: make(map[tokenstore.Key]bool),
		}
		// Not for the one who asks first alone: others wait for it too.
		go k.makeCatalogue(d.current)
	}
	return d.current
}

// makeCatalogue reads the store, page by page, while it is written to. What is
// written after the catalogue was begun is news, and news is newer than
// anything read here.
func (k *Keeper) makeCatalogue(c *catalogue) {
	defer close(c.made)
	rows, err := k.survey(c)
	if c.err = err; err != nil {
		if k.accepting.Err() != nil {
			c.err = tokenstore.ErrClosed
		}
		k.dropCatalogue(c)
		return
	}
	slices.SortFunc(rows, compareRows)
	c.order = newOrder(rows)
	k.dropWhenIdle(c, directoryKept)
}

// surveyPage is how many records are read at once.
const surveyPage = 500

func (k *Keeper) survey(c *catalogue) (rows []*row, err error) {
	cursor := ""
	for {
		// A lease for each page: closing must not wait for all of them.
		if err := k.begin(); err != nil {
			return nil, err
		}
		briefs, next, damaged, err := k.vault.Survey(k.accepting, cursor, surveyPage)
		k.work.Done()
		if err != nil {
			return nil, err
		}
		for _, b := range briefs {
			rows = append(rows, newRow(b))
		}
		if c.damaged += damaged; next == "" {
			return rows, nil
		}
		cursor = next
	}
}

// dropWhenIdle ends the catalogue when nobody has asked for long.
func (k *Keeper) dropWhenIdle(c *catalogue, after time.Duration) {
	k.clock.AfterFunc(after, func() {
		d := &k.directory
		d.mu.Lock()
		idle := k.clock.Now().Sub(d.askedAt).Abs()
		d.mu.Unlock()
		if idle < directoryKept {
			k.dropWhenIdle(c, directoryKept-idle)
			return
		}
		k.dropCatalogue(c)
	})
}

func (k *Keeper) dropCatalogue(c *catalogue) {
	d := &k.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == c {
		d.current = nil
	}
}

// resolveDoubts reads what nobody knows. What cannot be read either stays in
// doubt, and is shown as it was.
func (k *Keeper) resolveDoubts(ctx context.Context, c *catalogue) {
	d := &k.directory
	d.mu.Lock()
	doubtful := make([]tokenstore.Key, 0, len(c.doubtful))
	for key := range c.doubtful {
		doubtful = append(doubtful, key)
	}
	d.mu.Unlock()
	for _, key := range doubtful {
		if !k.resolveDoubt(ctx, key) {
			return // nor can the others
		}
	}
}

func (k *Keeper) resolveDoubt(ctx context.Context, key tokenstore.Key) bool {
	// No write of the connection may come between reading and noting.
	order := k.telling.of(key)
	order.Lock()
	defer order.Unlock()
	r, err := k.vault.Load(ctx, key)
	var damaged *tokenstore.DamagedError
	switch {
	case err == nil, errors.Is(err, tokenstore.ErrNotFound):
		k.directory.note(key, r)
	case !errors.As(err, &damaged):
		return false
	}
	return true
}

// bring puts news among the rows. Nearly all of them are of connections that
// keep their place: those are found by it.
func (c *catalogue) bring(news map[rowKey]*row) {
	moved := make(map[rowKey]*row)
	for key, is := range news {
		if i, ok := c.order.find(is); ok {
			c.order[i].Store(is)
		} else {
			moved[key] = is
		}
	}
	if len(moved) > 0 {
		c.order = c.order.with(moved)
	}
}

func newOrder(rows []*row) order {
	o := make(order, len(rows))
	for i, r := range rows {
		o[i].Store(r)
	}
	return o
}

// find returns the place of the row that a row takes the place of.
func (o order) find(is *row) (place int, ok bool) {
	if is == nil {
		return 0, false
	}
	place = sort.Search(len(o), func(i int) bool { return compareRows(o[i].Load(), is) >= 0 })
	return place, place < len(o) && compareRows(o[place].Load(), is) == 0
}

// with returns the order with rows in other places, or without those that are
// nil. It is made anew, because others may be reading this one, but only what
// has another place is sorted.
func (o order) with(moved map[rowKey]*row) order {
	stay, come := make([]*row, 0, len(o)+len(moved)), make([]*row, 0, len(moved))
	for i := range o {
		was := o[i].Load()
		if _, ok := moved[was.key()]; !ok {
			stay = append(stay, was)
		}
	}
	for _, is := range moved {
		if is != nil {
			come = append(come, is)
		}
	}
	slices.SortFunc(come, compareRows)
	all := make(order, 0, len(stay)+len(come))
	for len(stay)+len(come) > 0 {
		all = all[:len(all)+1]
		if len(stay) == 0 || len(come) > 0 && compareRows(come[0], stay[0]) < 0 {
			all[len(all)-1].Store(come[0])
			come = come[1:]
		} else {
			all[len(all)-1].Store(stay[0])
			stay = stay[1:]
		}
	}
	return all
}
