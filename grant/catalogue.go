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
	"sync"
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
	// order is sorted. Its elements are never changed: who reads it needs no
	// lock.
	order   []*row
	damaged int
}

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
func (k *Keeper) ordered(ctx context.Context) (order []*row, damaged int, err error) {
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
	if c.err = k.survey(c); c.err != nil {
		if k.accepting.Err() != nil {
			c.err = tokenstore.ErrClosed
		}
		k.dropCatalogue(c)
		return
	}
	slices.SortFunc(c.order, compareRows)
	c.order = slices.Clip(c.order)
	k.dropWhenIdle(c, directoryKept)
}

// surveyPage is how many records are read at once.
const surveyPage = 500

func (k *Keeper) survey(c *catalogue) error {
	cursor := ""
	for {
		// A lease for each page: closing must not wait for all of them.
		if err := k.begin(); err != nil {
			return err
		}
		briefs, next, damaged, err := k.vault.Survey(k.accepting, cursor, surveyPage)
		k.work.Done()
		if err != nil {
			return err
		}
		for _, b := range briefs {
			c.order = append(c.order, newRow(b))
		}
		if c.damaged += damaged; next == "" {
			return nil
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

// bring puts news among the rows. The order is made anew, because others may
// be reading it, but only what has another place is sorted.
func (c *catalogue) bring(news map[rowKey]*row) {
	if len(news) == 0 {
		return
	}
	order := make([]*row, 0, len(c.order)+len(news))
	var moved []*row
	known := make(map[rowKey]bool)
	// In the former order, which is close to the next one if many have moved.
	for _, was := range c.order {
		is, changed := news[was.key()]
		if !changed {
			order = append(order, was)
			continue
		}
		known[was.key()] = true
		switch {
		case is == nil:
		case samePlace(was, is):
			order = append(order, is)
		default:
			moved = append(moved, is)
		}
	}
	for key, is := range news {
		if is != nil && !known[key] {
			moved = append(moved, is)
		}
	}
	if len(moved) > 0 {
		slices.SortFunc(moved, compareRows)
		order = merge(order, moved)
	}
	c.order = order
}

// merge puts sorted rows among sorted rows.
func merge(a, b []*row) []*row {
	all := make([]*row, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compareRows(b[0], a[0]) < 0 {
			all, b = append(all, b[0]), b[1:]
		} else {
			all, a = append(all, a[0]), a[1:]
		}
	}
	return append(append(all, a...), b...)
}
