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

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Rotate makes the first key of the ring the one that seals, and then seals
// anew all that is sealed with another one, which takes as long as it takes: it
// ends early with ctx, and when the keeper is closed. What becomes of it is
// logged. The error is tokenstore.ErrKeysReplaced if the ring is not the one in
// use, and tokenstore.ErrClosed; in both cases nothing was done.
//
// It must not be called before the ring's configuration is sure to stay: from
// then on, the store does not open without that key.
func (k *Keeper) Rotate(ctx context.Context, ring *tokenstore.Keyring) error {
	if err := k.begin(); err != nil {
		return err
	}
	defer k.work.Done()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(k.accepting, stop)()

	sealed := 0
	err := k.rekey(ctx, ring, func(done int) { sealed = done })
	if errors.Is(err, tokenstore.ErrKeysReplaced) {
		return err
	}
	switch {
	case err == nil && (sealed > 0 || ring.Len() > 1):
		k.logger.Info("all records are sealed with the first encryption key; former keys may be removed from encryption_key",
			zap.Int("sealed_anew", sealed))
	case err != nil && ctx.Err() == nil:
		k.logger.Error("not all records could be sealed with the first encryption key; keep the former keys in encryption_key. "+
			"The next start or reload tries again", zap.Int("sealed_anew", sealed), zap.Error(err))
	}
	return nil
}

// Rekey is Rotate for somebody who waits for it: progress is called with how
// many entries were sealed anew so far, and the error says what is in the way.
// Both can be under way at once.
func (k *Keeper) Rekey(ctx context.Context, ring *tokenstore.Keyring, progress func(done int)) error {
	if err := k.begin(); err != nil {
		return err
	}
	defer k.work.Done()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(k.accepting, stop)()
	return k.rekey(ctx, ring, progress)
}

func (k *Keeper) rekey(ctx context.Context, ring *tokenstore.Keyring, progress func(done int)) error {
	if err := k.vault.Promote(ctx, ring); err != nil {
		return err
	}
	return k.vault.Reseal(ctx, progress)
}
