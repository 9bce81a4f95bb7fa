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

package tokenstore

import (
	"context"
	"fmt"
)

// Probe finds out whether the store can be used: there is space, its own record
// can be read and opened, and something can be written, durably. It leaves
// nothing behind. The error is ErrFull if there is too little space, and a
// *WrongKeyError if the keys in use do not fit.
func (v *Vault) Probe(ctx context.Context) error {
	if err := v.CheckSpace(ctx); err != nil {
		return err
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	if _, err := v.readMeta(ctx, v.ring); err != nil {
		return err
	}
	// The removal of what is not there is a write like any other.
	if err := v.store.Apply(ctx, Change{Name: probeName}); err != nil {
		return fmt.Errorf("writing to the token store: %w", err)
	}
	return nil
}
