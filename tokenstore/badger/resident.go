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

package badger

import (
	"errors"
	"reflect"
	"sync"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"
)

// Tables are read where they are mapped, and what was read once stays with the
// process: the system maps 64 KiB around each page, so ten thousand records that
// were read look as if the process needed 640 MiB, and a backup looks like all of
// the store. The system takes it back when it has to, but people, and some that
// watch processes, go by what a process has. So mapped tables are given back when
// they are much. The system keeps them in its own cache: to read them again costs
// less than a microsecond a page.
const (
	// mappedMost is how much may be mapped, with the program itself.
	mappedMost = 128 << 20
	// trimEvery is how often mapped tables are given back, at most.
	trimEvery = time.Second
)

// trimmer gives mapped tables back. It belongs to the polling goroutine, which
// is the one that merges tables.
type trimmer struct {
	last   time.Time
	failed bool
}

// trim gives mapped tables back, if it is time and they are much.
func (s *store) trim() {
	t := &s.trimmer
	if t.failed || time.Since(t.last) < trimEvery || mapped() <= mappedMost {
		return
	}
	t.last = time.Now()
	tables, err := openTables(s.db)
	for _, one := range tables {
		forget(one.Data)
		err = errors.Join(err, one.DecrRef())
	}
	if err != nil {
		t.failed = true
		s.logger.Warn("the memory that the token store's files are mapped to cannot be given back; the system takes it when it has to", zap.Error(err))
	}
}

// openTables returns the tables of a database, each with a reference that the
// caller gives back. Badger has no way to ask for them. With another Badger the
// error may be that they are not where they were.
func openTables(db *badgerdb.DB) (tables []*table.Table, err error) {
	defer recoverInto(&err)
	levels := reflect.ValueOf(db).Elem().FieldByName("lc").Elem().FieldByName("levels")
	for i := range levels.Len() {
		level := levels.Index(i).Elem()
		lock, of := level.FieldByName("RWMutex"), level.FieldByName("tables")
		if lock.Type() != reflect.TypeFor[sync.RWMutex]() || of.Type() != reflect.TypeFor[[]*table.Table]() {
			return tables, errors.New("in this version of Badger, tables are kept otherwise")
		}
		tables = append(tables, tablesUnder((*sync.RWMutex)(lock.Addr().UnsafePointer()), (*[]*table.Table)(of.Addr().UnsafePointer()))...)
	}
	return tables, nil
}

func tablesUnder(lock *sync.RWMutex, of *[]*table.Table) (tables []*table.Table) {
	lock.RLock()
	defer lock.RUnlock()
	for _, t := range *of {
		t.IncrRef()
		tables = append(tables, t)
	}
	return tables
}
