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

package intuittest

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxEntity is the most that is read of a body that must be held in memory.
const maxEntity = 16 << 20

// company is a company's books. They are guarded by Server.mu.
type company struct {
	Company
	lastID     int
	seeded     bool
	entities   map[string][]map[string]any // by the entity's proper name, oldest first
	changed    map[string]time.Time        // by entity name and id
	files      map[string]file             // by attachable id
	requestIDs map[string]string           // id of what a requestid created
}

type file struct {
	name, ctype string
	content     []byte
}

// company returns a company and adds it if it is new. The caller holds s.mu or
// is New.
func (s *Server) company(realm, name string) *company {
	if c := s.companies[realm]; c != nil {
		return c
	}
	c := &company{
		Company:    Company{RealmID: realm, Name: name},
		entities:   map[string][]map[string]any{},
		changed:    map[string]time.Time{},
		files:      map[string]file{},
		requestIDs: map[string]string{},
	}
	s.companies[realm] = c
	s.realms = append(s.realms, realm)
	return c
}

func (c *company) nextID() int {
	c.lastID++
	return c.lastID
}

// entityNames are the entities by their lower-case names, as they are in
// paths.
var entityNames = func() map[string]string {
	names := map[string]string{}
	for name := range strings.FieldsSeq(`Account Attachable Bill BillPayment Budget Class CompanyCurrency CompanyInfo
		CreditMemo Customer CustomerType Department Deposit Employee Estimate ExchangeRate InventoryAdjustment Invoice
		Item JournalCode JournalEntry Payment PaymentMethod Preferences Purchase PurchaseOrder RecurringTransaction
		RefundReceipt ReimburseCharge SalesReceipt TaxAgency TaxClassification TaxCode TaxPayment TaxRate TaxService
		Term TimeActivity Transfer Vendor VendorCredit`) {
		names[strings.ToLower(name)] = name
	}
	return names
}()

// seed gives a company something to find, at the first look.
func (s *Server) seed(c *company) {
	if c.seeded {
		return
	}
	c.seeded = true
	now := s.now()
	for i, name := range []string{"Amy's Bird Sanctuary", "Bill's Windsurf Shop", "Cool Cars"} {
		s.store(c, "Customer", map[string]any{
			"DisplayName": name, "FullyQualifiedName": name, "Active": true, "Balance": 100.5 * float64(i+1),
			"PrimaryEmailAddr": map[string]any{"Address": "customer" + strconv.Itoa(i+1) + "@example.com"},
		}, now)
	}
	for _, name := range []string{"Gardening", "Rock Fountain"} {
		s.store(c, "Item", map[string]any{
			"Name": name, "FullyQualifiedName": name, "Type": "Service", "Active": true, "UnitPrice": 25,
			"IncomeAccountRef": map[string]any{"value": "1", "name": "Services"},
		}, now)
	}
	for i := range 2 {
		s.store(c, "Invoice", map[string]any{
			"DocNumber": strconv.Itoa(1001 + i), "TxnDate": now.In(pacific).Format(time.DateOnly), "TotalAmt": 362.07,
			"Balance":     362.07,
			"CustomerRef": map[string]any{"value": "1", "name": "Amy's Bird Sanctuary"},
			"Line": []any{map[string]any{
				"Id": "1", "Amount": 362.07, "DetailType": "SalesItemLineDetail",
				"SalesItemLineDetail": map[string]any{"ItemRef": map[string]any{"value": "4", "name": "Gardening"}},
			}},
		}, now)
	}
}

// store adds an entity and gives it an id.
func (s *Server) store(c *company, name string, e map[string]any, now time.Time) map[string]any {
	e["Id"], e["SyncToken"], e["domain"] = strconv.Itoa(c.nextID()), "0", "QBO"
	if _, ok := e["sparse"]; !ok {
		e["sparse"] = false
	}
	e["MetaData"] = map[string]any{"CreateTime": stamp(now), "LastUpdatedTime": stamp(now)}
	c.entities[name] = append(c.entities[name], e)
	c.changed[name+" "+e["Id"].(string)] = now
	return e
}

// find returns an entity's place; -1 if there is none.
func (c *company) find(name, id string) int {
	return slices.IndexFunc(c.entities[name], func(e map[string]any) bool { return e["Id"] == id })
}

// info is the company's CompanyInfo.
func (c *company) info(now time.Time) map[string]any {
	return map[string]any{
		"CompanyName": c.Name, "LegalName": c.Name, "Country": "US", "FiscalYearStartMonth": "January",
		"SupportedLanguages": "en", "Id": "1", "SyncToken": "4", "domain": "QBO", "sparse": false,
		"CompanyAddr": map[string]any{"Id": "1", "Line1": "123 Sierra Way", "City": "San Pablo", "CountrySubDivisionCode": "CA", "PostalCode": "87999"},
		"Email":       map[string]any{"Address": "noreply@example.com"},
		"MetaData":    map[string]any{"CreateTime": stamp(now.Add(-365 * 24 * time.Hour)), "LastUpdatedTime": stamp(now)},
		"NameValue":   []any{map[string]any{"Name": "OfferingSku", "Value": "QuickBooks Online Plus"}},
	}
}

// all returns the entities of a kind that a query finds.
func (s *Server) all(c *company, name string) []map[string]any {
	s.seed(c)
	switch name {
	case "CompanyInfo":
		return []map[string]any{c.info(s.now())}
	case "Preferences":
		return []map[string]any{preferences()}
	}
	return c.entities[name]
}

func preferences() map[string]any {
	return map[string]any{
		"Id": "1", "SyncToken": "0", "domain": "QBO", "sparse": false,
		"AccountingInfoPrefs": map[string]any{"FirstMonthOfFiscalYear": "January", "TaxYearMonth": "January"},
		"CurrencyPrefs":       map[string]any{"MultiCurrencyEnabled": false, "HomeCurrency": map[string]any{"value": "USD"}},
		"SalesFormsPrefs":     map[string]any{"CustomTxnNumbers": true, "AllowDiscount": true},
		"OtherPrefs":          map[string]any{"NameValue": []any{map[string]any{"Name": "SalesFormsPrefs.DefaultCustomerMessage", "Value": "Thank you"}}},
	}
}
