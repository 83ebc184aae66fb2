package store

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// The keys. All times in scores are milliseconds of Redis' clock.
const (
	// keyJob + id is a hash, one per job:
	//
	//	v     version                 rec   the record, JSON of tasks.Job
	//	sv    schema of rec           req   the request, JSON, written once
	//	st    state                   ss    status
	//	lane  step:gen of the main lane; empty when it has nothing to do
	//	t     tenant as in keys       u     hash of the user id, may be empty
	//	ft    feature type            pr    provider that serves the job now
	//	idem  idempotency key in Redis, may be empty
	//	ops   the last operation ids  tomb  set once the job is being purged
	//	body:<version>                an event body kept for its delivery
	//	held  places at providers: "provider|submission|until " for each
	keyJob = "easel:job:"

	// keyUpload + id is the record of an uploaded file, JSON of tasks.Upload.
	keyUpload = "easel:file:"

	// keyOpen scores every job that owes work by its next touch.
	keyOpen = "easel:open"
	// keyPurge scores every job with a purge time, and every upload, by it.
	keyPurge = "easel:purge"
	// keyCounts is a hash of how many jobs are in which state.
	keyCounts = "easel:counts"
	// keyCircuits is a hash of the open circuits: "provider model" to "since
	// until trips probe reason".
	keyCircuits = "easel:circuits"
	// keyCalls + "provider model" counts the calls of the last minute.
	keyCalls = "easel:calls:"
	// keyGate + provider is a hash that every paid call passes: paused, since
	// when; until, the time until which the provider has asked us to stay away.
	keyGate = "easel:gate:"
	// keyPlaces + provider scores "job:submission" for every submission that
	// the provider is working on, or may be, by the time at which it surely is
	// not any more.
	keyPlaces = "easel:places:"
	// keyWaiting + provider is the set of the queued jobs whose provider it is:
	// what counts against the limit of its backlog.
	keyWaiting = "easel:waiting:"
	// keyLine + provider scores the jobs that wait for their turn by when they
	// came.
	keyLine = "easel:line:"
	// keyTurns + provider scores the jobs that were given a turn by its
	// microsecond. A turn that is not taken lapses.
	keyTurns = "easel:turns:"
	// keySlots + provider scores the turns of the last interval of a rate, and
	// those to come, by their microsecond; one that was taken by when it was.
	keySlots = "easel:slots:"
	// keySchema is the version of this layout.
	keySchema = "easel:schema"
	// keyTide is the latest time that the data is known to have reached.
	keyTide = "easel:tide"
	// keyGaps lists the last times in which the tide did not rise, "from to":
	// nobody was at work then, or the data of that time is lost.
	keyGaps = "easel:gaps"
	// keyIdentity names this Redis' data. A restored copy has it too; data that
	// was begun anew has another.
	keyIdentity = "easel:identity"
	// keyMarked stands for as long as nobody need note the tide elsewhere.
	keyMarked = "easel:marked"
	// keyHold stands while paid submits are held, with the time since when.
	keyHold = "easel:hold"
	// keySecret is the key that signs links and tokens when none is configured.
	keySecret = "easel:secret"

	// keyInstallation is what a process that knows only this Redis must know
	// of the installation, and keyProviders a hash of its providers; see
	// [Store.Publish].
	keyInstallation = "easel:installation"
	keyProviders    = "easel:providers"

	// keyQueue + tenant + ":" + name is a named queue of Go programs: a list
	// of what waits, a zset of what runs by the end of its lease, and a hash
	// per item; see [Backlog].
	keyQueue = "easel:queue:"

	// keyJobs + tenant, keyJobs + tenant + ":status:" + status, and
	// keyJobs + tenant + ":user:" + hash list ids in the order of their making:
	// all scores are 0, and ids sort by time.
	keyJobs = "easel:jobs:"
	// keyIdempotency + tenant + ":" + hash of the key is "id request-hash".
	keyIdempotency = "easel:idem:"

	// channelEvents carries "id version status" for every change.
	channelEvents = "easel:events"
)

// layout is the version of the keys above.
const layout = 1

// tenantKey writes a tenant, which may be any text, so that it can stand
// between the colons of a key.
func tenantKey(tenant string) string { return url.QueryEscape(tenant) }

// userKey is what stands for a user id in keys: user ids may be long, and may
// be personal.
func userKey(userID string) string {
	if userID == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(userID))
	return hex.EncodeToString(sum[:16])
}

// idempotencyKey is the key that holds a job's idempotency key, if it has one.
func idempotencyKey(job *tasks.Job) string {
	if job.IdempotencyKey == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(job.IdempotencyKey))
	return keyIdempotency + tenantKey(job.Tenant) + ":" + hex.EncodeToString(sum[:])
}

func allIndex(tenant string) string { return keyJobs + tenantKey(tenant) }

func statusIndex(tenant string, status tasks.Status) string {
	return keyJobs + tenantKey(tenant) + ":status:" + string(status)
}

func userIndex(tenant, userID string) string {
	return keyJobs + tenantKey(tenant) + ":user:" + userKey(userID)
}
