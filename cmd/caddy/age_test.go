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

package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
)

// ageMain is as much of the program age, by its own library, as the documents
// use: `age -d -i <key> [<file>]`.
func ageMain() {
	open := flag.Bool("d", false, "")
	key := flag.String("i", "", "")
	flag.Parse()
	err := fmt.Errorf("only -d -i is known here")
	if *open && *key != "" {
		err = openSealed(*key, flag.Arg(0))
	}
	exit("age", err)
}

func openSealed(key, path string) error {
	identities, err := readKey(key)
	if err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	plain, err := age.Decrypt(in, identities...)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, plain)
	return err
}

func readKey(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return age.ParseIdentities(f)
}

// ageKeygenMain is the same of age-keygen: `age-keygen -o <key>`, which makes a
// pair of keys, and `age-keygen -y <key>`, which prints the public one.
func ageKeygenMain() {
	output := flag.String("o", "", "")
	public := flag.Bool("y", false, "")
	flag.Parse()
	exit("age-keygen", func() error {
		if *public {
			identities, err := readKey(flag.Arg(0))
			if err == nil {
				fmt.Println(identities[0].(*age.X25519Identity).Recipient())
			}
			return err
		}
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		return os.WriteFile(*output, fmt.Appendf(nil, "# public key: %s\n%s\n", identity.Recipient(), identity), 0o600)
	}())
}

func exit(name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
