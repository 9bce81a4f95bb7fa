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
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

var mutations = flag.Int("badger.mutations", 20, "how often TestDamage damages each of its three stores")

// damageRecords is how many grants the stores of TestDamage hold.
const damageRecords = 30

func damageKey(i int) tokenstore.Key {
	return tokenstore.Key{Integration: "qbo", Connection: fmt.Sprint("realm", i)}
}

// TestDamage damages the files of stores at random. After each damage, a store
// is opened by another process, which must not die of it, and holds all that
// was written, or is refused with an error that says what to do. A large store
// is opened all the same, and then whoever reads what may be damaged is refused.
//
//	go test ./tokenstore/badger -run TestDamage$ -badger.mutations 200 -timeout 30m -v
func TestDamage(t *testing.T) {
	t.Logf("-badger.seed %d", *killSeed)
	key := tokenstore.GenerateKey().Reveal()
	for _, state := range []string{"closed", "killed", "killed after much", "large, killed after much"} {
		t.Run(state, func(t *testing.T) {
			random := rand.New(rand.NewPCG(*killSeed, uint64(len(state))))
			whole := damageStore(t, state, key)
			cmd := child(t, "check", key, state)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewScanner(stdout)
			ask := func(dir string) string {
				_, _ = fmt.Fprintln(stdin, dir)
				if !answers.Scan() {
					_ = cmd.Wait()
					lines, _, _ := strings.Cut(stderr.String(), "\n\n")
					return "died: " + lines
				}
				return answers.Text()
			}
			if answer := ask(whole); answer != "right" {
				t.Fatalf("undamaged: %s", answer)
			}
			whole = damageStore(t, state, key) // opening it changed it
			counts := map[string]int{}
			for n := range *mutations {
				scratch := filepath.Join(t.TempDir(), "store")
				if err := os.CopyFS(scratch, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				what := mutate(t, scratch, random)
				answer := ask(scratch)
				word, text, _ := strings.Cut(answer, ": ")
				counts[word]++
				switch word {
				case "right":
				case "refused":
					t.Logf("%d: %s: %s", n, what, strings.ReplaceAll(text, scratch, "DIR"))
					for _, part := range []string{scratch, "backup", "move the directory away"} {
						if !strings.Contains(text, part) {
							t.Errorf("%d: %s: %q does not say %q", n, what, text, part)
						}
					}
				default:
					t.Errorf("%d: %s: %s", n, what, answer)
				}
				if word == "died" {
					t.FailNow()
				}
				_ = os.RemoveAll(scratch)
			}
			t.Logf("%d mutations: %v", *mutations, counts)
			_ = stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err, stderr.String())
			}
		})
	}
}

// damageStore makes a store in a state, in a directory of its own.
func damageStore(t *testing.T, state, key string) string {
	t.Helper()
	dir := newDir(t)
	ring, err := tokenstore.ParseKeyring(secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	generation := uint64(0)
	session := func() *tokenstore.Vault {
		vault, err := tokenstore.OpenVault(t.Context(), open(t, dir), ring)
		if err != nil {
			t.Fatal(err)
		}
		return vault
	}
	save := func(vault *tokenstore.Vault) {
		generation++
		for i := range damageRecords {
			r, err := vault.Load(t.Context(), damageKey(i))
			if errors.Is(err, tokenstore.ErrNotFound) {
				r, err = &tokenstore.Record{Key: damageKey(i), ClientID: "client", RefreshToken: secret.New(fmt.Sprintf("refresh-%d", i))}, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			r.Generation = generation
			r.AccessToken = secret.New(strings.Repeat("a", 4000))
			if err := vault.PutIntent(t.Context(), tokenstore.Intent{Key: r.Key, Generation: generation - 1}); err != nil {
				t.Fatal(err)
			}
			if err := vault.Save(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		vault := session()
		save(vault)
		if err := vault.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if state != "closed" {
		vault := session()
		defer vault.Close()
		for n := 0; n < 1 || strings.HasSuffix(state, "killed after much") && n < 10; n++ {
			save(vault)
		}
		// What a process that is killed now would leave.
		copied := newDir(t)
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		dir = copied
	}
	last := filepath.Join(dir, "freshbearer.test")
	if err := os.WriteFile(last, fmt.Append(nil, generation), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mutate damages a directory and says how.
func mutate(t *testing.T, dir string, random *rand.Rand) string {
	t.Helper()
	var names []string
	for _, path := range files(t, dir, "*") {
		switch name := filepath.Base(path); name {
		case "freshbearer.test", lockName, "LOCK":
		default:
			names = append(names, name)
		}
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	name := names[random.IntN(len(names))]
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	check(err)
	// Logs are larger than what is in them; most damage shall hit that.
	filled := len(bytes.TrimRight(data, "\x00"))
	place := func() int {
		if filled > 0 && random.IntN(10) > 0 {
			return random.IntN(filled)
		}
		return random.IntN(max(len(data), 1))
	}
	switch kind := random.IntN(7); kind {
	case 0:
		check(os.Remove(path))
		return "removed " + name
	case 1:
		other := names[random.IntN(len(names))]
		if other == name {
			return "nothing"
		}
		temp := path + ".swap"
		check(errors.Join(os.Rename(path, temp), os.Rename(filepath.Join(dir, other), path), os.Rename(temp, filepath.Join(dir, other))))
		return "swapped " + name + " and " + other
	case 2:
		check(os.WriteFile(path, nil, 0o600))
		return "emptied " + name
	case 3, 4:
		at := place()
		check(os.Truncate(path, int64(min(at, len(data)))))
		return fmt.Sprintf("cut %s (%d bytes, %d filled) to %d", name, len(data), filled, at)
	case 5:
		from := place()
		to := min(from+1+random.IntN(1+max(filled, 1)), len(data))
		if from > to {
			return "nothing"
		}
		clear(data[from:to])
		check(os.WriteFile(path, data, 0o600))
		return fmt.Sprintf("zeroed %d to %d of %s (%d filled)", from, to, name, filled)
	default:
		at := place()
		if at >= len(data) {
			return "nothing"
		}
		data[at] ^= 1 << random.IntN(8)
		check(os.WriteFile(path, data, 0o600))
		return fmt.Sprintf("flipped a bit at %d of %s (%d filled)", at, name, filled)
	}
}

// childCheck reads directories from its input and says of each what is in it.
func childCheck(args []string) error {
	ring, err := tokenstore.ParseKeyring(secret.New(args[0]))
	if err != nil {
		return err
	}
	if strings.HasPrefix(args[1], "large") {
		checkedAtOnce = 0
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := checkStore(lines.Text(), ring)
		if _, err := fmt.Println(strings.ReplaceAll(answer, "\n", " ")); err != nil {
			return err
		}
		runtime.GC() // what Badger leaves when it fails to open
	}
	return lines.Err()
}

func checkStore(dir string, ring *tokenstore.Keyring) string {
	ctx := context.Background()
	text, err := os.ReadFile(filepath.Join(dir, "freshbearer.test"))
	if err != nil {
		return "wrong: " + err.Error()
	}
	s, err := (&Config{Path: dir, MinFree: 1 << 20}).Open(zap.NewNop())
	if err != nil {
		return "refused: " + err.Error()
	}
	refuses := func(err error) bool {
		return checkedAtOnce == 0 && strings.Contains(err.Error(), "token store "+dir+" is damaged: its file")
	}
	vault, err := tokenstore.OpenVault(ctx, s, ring)
	if err != nil {
		_ = s.Close()
		if refuses(err) {
			return "refused: " + err.Error()
		}
		return "wrong: vault: " + err.Error()
	}
	answer := "right"
	for i := range damageRecords {
		r, err := vault.Load(ctx, damageKey(i))
		switch {
		case err != nil && refuses(err):
			if answer == "right" {
				answer = "refused: " + err.Error()
			}
		case err != nil:
			answer = fmt.Sprintf("wrong: record %d: %v", i, err)
		case fmt.Sprint(r.Generation) != string(text) || r.RefreshToken.Reveal() != fmt.Sprintf("refresh-%d", i):
			answer = fmt.Sprintf("wrong: record %d has generation %d, not %s", i, r.Generation, text)
		}
	}
	if err := vault.Close(); err != nil {
		answer = "wrong: closing: " + err.Error()
	}
	return answer
}
