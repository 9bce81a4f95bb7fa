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

// Package pages renders the pages that the proxy shows in a browser. They run
package pages

import (
	"fmt"
	"time"
)

// sampleNow is the time of the samples.
var sampleNow = time.Date(2026, 11, 24, 9, 41, 7, 0, time.UTC)

const day = 24 * time.Hour

// sampleStatus is a page with one of everything.
func sampleStatus() StatusView {
	now := sampleNow
	v := StatusView{
		Frame: Frame{Version: "v0.3.0", Now: now, User: "dana", Token: "form-token", Back: "state=suspect",
			Outcome: Notice{Tone: ToneGood, Title: "Refreshed.", Text: "Craig's Design and Landscaping has a fresh access token."}},
		Alarms: []Notice{
			{Tone: ToneBad, Title: "The store is on hold.", Text: "It was restored from a backup of 2026-11-24 03:00:00 UTC, so no token is refreshed. When nothing else uses the store that the backup was made of, run: caddy freshbearer resume"},
			{Tone: ToneWarning, Title: "quickbooks:", Text: "QuickBooks has an incident: Elevated OAuth errors.", URL: "https://status.developer.intuit.com/incidents/1", Label: "Read on"},
		},
		Integrations: []Integration{
			{
				Name: "quickbooks", Provider: "QuickBooks", Environment: "production", CanConnect: true, Owners: []string{"billing-app", "reports"},
				Counts:   map[string]int{"connected": 99812, "suspect": 41, "needs_reauth": 7, "revoke_pending": 1, "disconnected": 139},
				Health:   Notice{Tone: ToneWarning, Title: "Incident:", Text: "Elevated OAuth errors", URL: "https://status.developer.intuit.com/incidents/1", Label: "Read on"},
				Activity: sampleActivity(),
			},
			{
				Name: "sandbox", Provider: "QuickBooks", Environment: "sandbox", CanConnect: true, Owners: []string{"billing-app", "reports"},
				Counts: map[string]int{"connected": 2}, Health: Notice{Tone: ToneGood, Title: "QuickBooks answers."},
				StatusPage: "https://status.developer.intuit.com", Activity: Activity{Step: 15 * time.Minute, Until: now, Buckets: make([]Bucket, 48)},
			},
		},
		Filter: Filter{Text: "design", Integration: "quickbooks", State: "needs_reauth", Offset: 50, Limit: 50},
		Total:  100000,
		Troubles: []Trouble{
			{now.Add(-4 * time.Minute), "quickbooks", "9130347957983546", "Craig's Design and Landscaping", "refused", "invalid_grant", "1-674305ac-4e52b0a31f7f5c8e2b1d0f96", 3},
			{now.Add(-3 * time.Hour), "quickbooks", "4620816365179350", "", "no answer", "", "", 0},
		},
	}
	v.Connections = []Connection{
		sampleConnection("needs_reauth"), sampleConnection("suspect"), sampleConnection("revoke_pending"),
		sampleConnection("connected"), sampleConnection("disconnected"),
	}
	for i := range 5 {
		c := sampleConnection("connected")
		c.ID, c.Account, c.Owner = fmt.Sprintf("91303478495367%02d", i), fmt.Sprintf("Company %d Ltd.", i), ""
		c.Access.Until = now.Add(time.Duration(13+9*i) * time.Minute)
		v.Connections = append(v.Connections, c)
	}
	return v
}

func sampleActivity() Activity {
	a := Activity{Step: 15 * time.Minute, Until: sampleNow.Truncate(15 * time.Minute), Buckets: make([]Bucket, 48)}
	for i := range a.Buckets {
		a.Buckets[i].Refreshed = 900 + (i*i*37)%420
		if i > 39 && i < 45 {
			a.Buckets[i] = Bucket{Refreshed: 200 - i, Failed: 340 - 20*(i-40), Refused: 30 * (i - 40)}
		}
	}
	return a
}

func sampleConnection(state string) Connection {
	now := sampleNow
	c := Connection{
		Integration: "quickbooks", ID: "9130347957983546", Account: "Craig's Design and Landscaping", Owner: "billing-app",
		State: state, Since: now.Add(-72 * day), ConnectedAt: now.Add(-400 * day), RefreshedAt: now.Add(-18 * time.Minute),
		Access:        Span{Until: now.Add(42 * time.Minute), Life: time.Hour},
		Refresh:       Span{Until: now.Add(99 * day), Life: 100 * day, Soon: 14 * day},
		Authorization: Span{Until: now.Add(1425 * day), Life: 1825 * day, Soon: 30 * day},
		CanDisconnect: true,
	}
	switch state {
	case "connected":
		c.CanRefresh = true
	case "needs_reauth":
		c.Cause, c.Since = "Its refresh token was revoked or replaced.", now.Add(-49*time.Hour)
		c.RefreshedAt, c.Access.Until = now.Add(-50*time.Hour), now.Add(-49*time.Hour)
		c.Authorization.Until = now.Add(20 * day)
		c.CanRecheck, c.CanReconnect = true, true
	case "suspect":
		c.Cause, c.Since = "QuickBooks refuses it, but there is reason not to believe that yet.", now.Add(-12*time.Minute)
		c.Account, c.ID, c.Owner = "", "4620816365179350", ""
		c.Refresh.Until = now.Add(6 * day)
		c.CanRecheck = true
	case "revoke_pending":
		c.Cause, c.CanReconnect = "It was given up here. QuickBooks has not confirmed yet that its tokens are revoked; that is tried again every hour.", true
		c.Access, c.Refresh, c.Authorization = Span{}, Span{}, Span{}
	case "disconnected":
		c.Cause = "It was disconnected."
		c.Access, c.Refresh, c.Authorization = Span{}, Span{}, Span{}
		c.CanReconnect, c.CanDisconnect = true, false
	}
	return c
}

func samplePage() ConnectionView {
	now := sampleNow
	return ConnectionView{
		Frame:      sampleStatus().Frame,
		Connection: sampleConnection("needs_reauth"),
		Notices:    []Notice{{Tone: ToneWarning, Title: "Another client ID.", Text: "It was authorized for another client ID than the one that is configured."}},
		Next:       "It is tried again by itself at 2026-11-25 08:41:07 UTC. A person of the company can reconnect it now.",
		Facts: []Field{
			{"Company ID", "9130347957983546"}, {"Integration", "quickbooks"}, {"Environment", "production"},
			{"Client ID", "ABx8Kd93kfkd03kdkAOdkdk39dkfkdkfd02ksdkf"}, {"Scopes", "com.intuit.quickbooks.accounting"},
			{"Belongs to", "billing-app"}, {"Generation", "9211"}, {"Epoch", "2"}, {"Provider’s error", "invalid_grant"}, {"Nothing", ""},
		},
		History: []Happening{
			{Time: now.Add(-49 * time.Hour), What: "needs_reauth: revoked_or_replaced", ProviderError: "invalid_grant", Description: "Token invalid", TraceID: "1-674305ac-4e52b0a31f7f5c8e2b1d0f96", Generation: 9211},
			{Time: now.Add(-50 * time.Hour), What: "refused again", Generation: 9211, Count: 3},
			{Time: now.Add(-400 * day), What: "connected", Generation: 1},
		},
	}
}

func sampleDisconnect() DisconnectView {
	return DisconnectView{Frame: sampleStatus().Frame, Connection: sampleConnection("connected"), Provider: "QuickBooks"}
}

func sampleLink() LinkView {
	return LinkView{
		Frame: sampleStatus().Frame, Integration: "quickbooks", Provider: "QuickBooks", Environment: "production",
		Connection: sampleConnection("needs_reauth"), Owner: "billing-app",
		URL:       "https://qb.example.com/oauth/connect?link=eyJpIjoicXVpY2tib29rcyIsImMiOiJiaWxsaW5nLWFwcCIsIm4iOiI5MTMwMzQ3OTU3OTgzNTQ2IiwiZSI6MTc2Mzk3Njg2N30.jUcQp8kVRr0XWf8o8XzXQe4xkF7o4XbV3b7n1Wz8m9E",
		ExpiresAt: sampleNow.Add(15 * time.Minute),
	}
}
