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

// Attachment is one configuration's hold on the keeper.
type Attachment struct {
	keeper       *Keeper
	integrations map[string]*Integration
}

// Attach makes the integrations of a configuration known. The newest
// attachment that is not detached is in force, so that a configuration that is
// rolled back gives way to the one before it.
func (k *Keeper) Attach(integrations map[string]*Integration) *Attachment {
	a := &Attachment{keeper: k, integrations: integrations}
	k.attachMu.Lock()
	defer k.attachMu.Unlock()
	k.attachments = append(k.attachments, a)
	k.mergeIntegrations()
	k.telling.start.Do(func() { go k.observe() })
	return a
}

// Detach ends the hold. It may be called more than once.
func (a *Attachment) Detach() {
	k := a.keeper
	k.attachMu.Lock()
	defer k.attachMu.Unlock()
	for i, other := range k.attachments {
		if other == a {
			k.attachments = append(k.attachments[:i:i], k.attachments[i+1:]...)
			break
		}
	}
	if len(k.attachments) > 0 {
		k.mergeIntegrations()
	}
	// After the last one has gone, its integrations stay until Close, for the
	// flights under way.
}

// mergeIntegrations lets newer attachments override older ones by name: while
// a reload is under way, requests of the old configuration may still name an
// integration that the new one has dropped.
func (k *Keeper) mergeIntegrations() {
	merged := make(map[string]*Integration)
	for _, a := range k.attachments {
		for name, in := range a.integrations {
			merged[name] = in
		}
	}
	k.integrations.Store(&merged)
	// What the provider refused the former client may not be refused this one.
	k.tryAgain(ReasonClientRefused)
	k.tryAgain(ReasonHosts)
}

func (k *Keeper) integration(name string) *Integration {
	return (*k.integrations.Load())[name]
}
