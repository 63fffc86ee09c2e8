---@meta keel.kernel
-- Types of the C module keel.kernel, for the language server. Nothing loads this file.
-- Times are RFC 3339 texts in UTC, durations are seconds. An id is 1 to 256 bytes of UTF-8 without control characters.
-- A function that "fails with" a code returns nil and a keel.Error; what is said to raise raises.
-- luacheck: ignore 241

-- --- Errors ----------------------------------------------------------------------------------------------------------

---@alias keel.Code
---| "conflict" # thread_id, run_id, reason: the strategy refused; of a dispatcher: machine too; or run_id, revision
---| "not_found" # run_id
---| "invalid_request" # field
---| "invalid_transition" # from, to
---| "limit_too_large" # field, requested, max
---| "wrong_runtime" # expected, actual
---| "closed" # from a manager, runtime, dispatcher or executor: its store was closed; the message says where
---| "runtime_stopped"
---| "unsupported_strategy" # known
---| "stale_owner" # run_id and session_id when another live session owns the run; of a lease: none
---| "lease_held" # owner, expires_at
---| "idempotency_mismatch" # not given yet
---| "policy_failed" # policy, reason, line
---| "policy_budget" # policy, limit, line, reason
---| "busy" # transient: another writer kept the lock for lock_timeout
---| "store_missing" # no such file, no such directory; in verify: a row that is gone
---| "store_corrupt" # not a database, damaged, truncated, another application's
---| "store_version" # the schema is newer than the library; readonly: older
---| "store_readonly"
---| "store_full"
---| "replaced" # the store's file is gone, or another one is in its place
---| "io" # a directory, no permission, a failing disk; in a manager: anything else a store raised
---| "no_memory"
---| "cancelled"
---| "timeout" # run_id
---| "orphan" # run_id, thread_id, session_id: the owner of the run is gone, and nothing recovers it
---| "forked" # raised: the store was opened before this process was forked
---| "not_supported" # this store cannot do that; or nothing here can open it

--- An error as a value; `tostring` gives "code: message".
---@class keel.Error
---@field code keel.Code
---@field message string a sentence for people; names paths and values
---@field transient boolean whether the same call may succeed when it is tried again
---@field field? string which input was wrong
---@field path? string the file or directory that could not be hashed
---@field machine? string the machine that is busy
---@field revision? integer the one that the row has by now
---@field thread_id? string
---@field run_id? string the run in the way, or the one there is not
---@field session_id? integer the session that owns the run
---@field owner? string who holds the lease
---@field expires_at? string time; until when
---@field from? keel.Status
---@field to? keel.Status
---@field requested? integer
---@field max? integer
---@field expected? string the epoch of this store
---@field actual? string the epoch in the cursor
---@field known? string[] the strategies there are
---@field policy? string the name of the policy
---@field limit? "instructions"|"seconds"|"bytes" the part of the budget that was spent
---@field line? integer the line of the policy, if known
---@field reason? string what the policy said, or what was wrong with it

-- --- Runs ------------------------------------------------------------------------------------------------------------

---@alias keel.Status "pending"|"running"|"success"|"error"|"timeout"|"interrupted" the last four are final
---@alias keel.Action "interrupt"|"rollback" how a run is stopped: its work is kept, or undone
---@alias keel.OperationKind "run"|"dispatch"|"checkpoint_write"|"artifact_write"|"delete" dispatch: of a machine

--- What the caller of create gives: it is in the run and in what strategies are told.
---@class keel.Given
---@field timeout? number seconds that an attempt may take, in an executor
---@field handler? string id; the name of what is to work on it
---@field after? (string|keel.Source)[] the runs that it starts after
---@field slots? keel.Slot[] it starts while fewer than max runs with each name run or are finalizing
---@field rates? keel.Rate[] it starts while fewer than max have started with each name in the last per seconds
---@field assistant_id? string id
---@field user_id? string id
---@field model_name? string at most 128 characters
---@field max_attempts? integer how many tries a requeue leaves it; absent: no end
---@field max_losses? integer how many owners it may lose, for requeue_orphans
---@field reconciler? string the reconciler that recovers it; absent: the call's
---@field plan_entry? string
---@field idempotency_key? string id; the same key, user and thread give the same run
---@field fingerprint? string equal fingerprints are the same work
---@field batch_id? string id
---@field parent_run_id? string the run that made it, with which it is cancelled

--- A run. A field that is null in the row is absent. What a store's methods give has the stored fields; what a manager
--- gives has the process-local ones too.
---@class keel.Run: keel.Given
---@field run_id string unique in the store; a manager makes UUIDs of version 7
---@field thread_id string what admission is decided by; never changes
---@field status keel.Status
---@field operation_kind keel.OperationKind
---@field multitask_strategy string the name of the strategy that admitted it; "custom" for an unnamed function
---@field retry_of? string the run that it is another try of
---@field schedule? string the name of the schedule that made it
---@field on_disconnect "cancel"|"continue" stored; nothing acts on it yet
---@field metadata table JSON, the caller's own
---@field kwargs table JSON, the caller's own
---@field created_at string time
---@field updated_at string time of the last change
---@field started_at? string time it first became running; absent again after a requeue
---@field ended_at? string time it reached its final status
---@field scheduled_at? string time; it starts no earlier
---@field deadline? string time; it ends as timeout then
---@field progress? table JSON: how far it is
---@field result? any any JSON value: what it came to
---@field error? string
---@field error_code? string
---@field exit_code? integer
---@field artifacts_path? string where what it made is
---@field logs_path? string where what it said is
---@field stop_reason? string why it ended: "orphan_recovered", "cancelled", or the caller's own
---@field priority integer 0 unless given; its place in the queue of its thread, and in claiming
---@field attempt integer tries of the work: 1 by a manager's create, 0 in a row made without it
---@field snoozes integer how often it was given back without an attempt
---@field losses integer owners that died under it and left it to others (a requeue)
---@field session_id? integer the session that owns it; absent: nobody
---@field fence integer 1, and more with every change of owner; a writer with another one is refused
---@field claimable boolean nobody owns it on purpose: claim_next takes it, recovery leaves it
---@field revision integer 1, and one more with every change of the row
---@field concurrency? integer it starts while fewer runs of the thread run; absent: always
---@field strict? boolean it waits behind a retry that is put off, too
---@field waits_for? string[] ids of the runs that must have settled before it starts
---@field start_by? string time; how long it may be put off at most
---@field successor? string the run that took its place while it waited
---@field lease_expires_at? string time; when its lease ends by the clock unless it is renewed; absent: it has none
---@field lease_us? integer how long its lease lasts, in microseconds
---@field shared boolean it was claimed: others can run it, too
---@field cancel_action? keel.Action the first stop that was asked for
---@field cancel_requested_at? string time; when its owner, another process, was asked to stop
---@field idempotency_hash? string of what the key was used for
---@field idempotency_expires_at? string time; when the key is free again; absent: never
---@field worker_ref? table JSON
---@field total_input_tokens integer
---@field total_output_tokens integer
---@field total_tokens integer
---@field llm_call_count integer
---@field lead_agent_tokens integer
---@field subagent_tokens integer
---@field middleware_tokens integer
---@field message_count integer
---@field token_usage_by_model? table JSON
---@field last_ai_message? string at most 2000 characters
---@field first_human_message? string at most 2000 characters
---@field store_only? boolean process-local: true for a copy read from the store, false for a live record
---@field abort_event? keel.AbortEvent process-local: the signal to stop
---@field abort_action? keel.Action|"shutdown" process-local: what the signal meant; "shutdown": the process stops
---@field task? thread process-local: yours to set
---@field finalizing boolean interrupted, but its owner has not settled it yet
---@field idempotency_reused? boolean the caller's copy of a run that its idempotency key was used for before
---@field start_within? number in what a strategy is shown: seconds until start_by
---@field age? number in what a strategy of yours is shown: seconds since it was made
---@field waited? number likewise: seconds that it has waited, or had before it started, since its time came
---@field running_for? number likewise, of a running one: seconds since it started

--- What may be given for a new run.
---@class keel.CreateOptions: keel.Given
---@field metadata? table JSON; default {}
---@field kwargs? table JSON; default {}
---@field multitask_strategy? string|keel.AnyStrategy default: the manager's
---@field strategy? string|keel.AnyStrategy another name for it
---@field strategy_options? table what the strategy sees as request.options; not stored
---@field on_disconnect? "cancel"|"continue" default "cancel"
---@field priority? integer
---@field scheduled_at? string|number time
---@field deadline? string|number time
---@field claimable? boolean true: the run belongs to no session
---@field worker_ref? table JSON
---@field idempotency_ttl? number seconds after which the key is free again; nil: never
---@field idempotency_until? "success" a run of the key that ended otherwise does not count
---@field retry_of? string the run that it is another try of; it leaves its key to this one

-- --- Policies --------------------------------------------------------------------------------------------------------

--- What a strategy is told of the newcomer. What the caller did not give is absent.
---@class keel.Request: keel.Given
---@field thread_id string
---@field metadata table a copy; {} unless given
---@field kwargs table a copy; {} unless given
---@field worker_ref? table a copy
---@field on_disconnect "cancel"|"continue"
---@field claimable? boolean
---@field priority integer 0 unless given
---@field scheduled_at? string time
---@field deadline? string time
---@field multitask_strategy string the strategy's own name
---@field options table the caller's strategy_options, or {}
---@field inflight_count integer runs in flight on the thread, exact even when fewer are shown
---@field finalizing string[] ids of the thread's runs that have ended and are not settled
---@field now string time by the store's clock

--- What a strategy decides. Runs are records it was shown, or their ids.
---@class keel.Decision
---@field admit boolean
---@field cancel? "all"|(keel.Run|string)[]
---@field action? keel.Action default "interrupt"
---@field after? (keel.Run|string)[] runs that must settle before the newcomer starts
---@field concurrency? integer it starts while fewer runs of the thread run, and none is queued ahead
---@field strict? boolean with a concurrency: it also waits behind what was ahead of it, has started and is put off
---@field delay? number seconds before it may start
---@field within? number seconds it may be put off at most, kept as start_by
---@field replace? keel.Run|string a pending run whose place it takes
---@field position? integer the place it would have had, for the conflict
---@field reuse? keel.Run|string give the caller this run; only with admit = false
---@field slots? { name: string, max?: integer }[] beside those of the request; of the same name: in place of it
---@field rates? { name: string, max?: integer, per?: number }[] likewise
---@field reason? string

---@alias keel.Strategy fun(request: keel.Request, inflight: keel.Run[]): keel.Decision

--- What a strategy wants to know: how many runs there are, or starts. One filter at most; without any, all runs of the
--- store. Counted up to 10 000.
---@class keel.Question
---@field count "inflight"|"pending"|"running"|"started"
---@field user_id? string
---@field handler? string
---@field batch_id? string
---@field thread_id? string
---@field slot? string who holds it is running, also while it is finalizing
---@field rate? string with count = "started", and only then
---@field per? number likewise: its starts in so many seconds

--- A strategy that says what it decides on an idle thread, so that it need not be asked there; or that reads: up to 8
--- questions by name, asked before the transaction with the request alone, answered in it.
---@class keel.StrategyTable
---@field idle? keel.Decision when nothing of the thread is in flight or finalizing; not with `reads`
---@field reads? fun(request: keel.Request): table<string, keel.Question>
---@field decide fun(request: keel.Request, inflight: keel.Run[], read?: table<string, integer>): keel.Decision

---@alias keel.AnyStrategy keel.Strategy|keel.StrategyTable|keel.LoadedPolicy

--- What a reconciler is told besides the run.
---@class keel.RecoveryContext
---@field now string time by the store's clock
---@field error? string the call's `error`; absent in admission
---@field cause "owner"|"lease"|"deadline" its session is dead or it has none; its lease or its deadline has passed

--- What a reconciler decides: how the run ends, or `requeue`.
---@class keel.Outcome
---@field status? keel.Status a final one
---@field error? string
---@field error_code? string
---@field stop_reason? string default "orphan_recovered"
---@field requeue? boolean true: pending and claimable again, with one loss more
---@field delay? number with requeue: seconds before it can start again

---@alias keel.Reconciler fun(run: keel.Run, context: keel.RecoveryContext): keel.Outcome?
---@alias keel.AnyReconciler keel.Reconciler|keel.LoadedPolicy

--- When a schedule happens next: a time, or seconds from now. `last` is the last occurrence, at first when the schedule
--- was made. Pure.
---@alias keel.SchedulePolicy fun(last: string, now: string): string|number
---@alias keel.AnySchedulePolicy keel.SchedulePolicy|keel.LoadedPolicy

--- A schedule as a row.
---@class keel.ScheduleRow
---@field name string
---@field definition table
---@field next_at string time
---@field last_at string time of the last occurrence; before the first, when it was made
---@field period number seconds between the last two
---@field problem? string why it is not known when it happens next: that is asked again at next_at
---@field revision integer 1, and one more with every change
---@field created_at string time
---@field updated_at string time

-- --- Stores ----------------------------------------------------------------------------------------------------------

---@class keel.StoreOptions
---@field durability? "full"|"normal"|"off" when a commit counts as done; default "full"
---@field readonly? boolean default false
---@field create? boolean default true: make the file (0600) when there is none; never a directory
---@field exclusive? boolean default false: this handle has the file alone; busy beside any other, and for any other
---@field lock_timeout? number seconds an operation waits for another writer; default 5
---@field sleep? fun(seconds: number) how the store waits; may yield. Default: it blocks
---@field clock? fun(): number seconds since the epoch, used as given. Default: the system's, never the same twice
---@field monotonic? fun(): number seconds on a clock that nobody sets: what leases are judged by
---@field log? fun(level: "info"|"warn"|"error", message: string, fields: table) what managers on the store tell
---@field owner? string a name shown to people, 1 to 256 bytes; default host:pid

---@class keel.Session
---@field session_id integer never used again in the store
---@field owner string
---@field pid integer
---@field started_at string time
---@field alive boolean whether its process is there: true unless that can be ruled out
---@field undecided boolean nothing here can tell whether it is there
---@field foreign boolean its pid is counted in another name space: here it is nobody's, or somebody else's

--- Something that verify found.
---@class keel.Server what there is to know of the server that has a store
---@field version integer as 150004
---@field standby boolean it can only be read
---@field fsync boolean false: a crash of its machine may damage the database
---@field autovacuum boolean
---@field has_standbys boolean it is told to wait for others (synchronous_standby_names)
---@field synchronous_commit string what a commit waits for, as set for this role and database
---@field lacking? string rights that a process which writes needs and this role lacks
---@field clock_skew number seconds that its clock is ahead of the store's
---@field oldest number seconds that the oldest open transaction, as far as the role is told, has lasted
---@field oldest_pid integer the server's process that has it; 0: a prepared one
---@field blocked integer connections that wait for the transaction which has kept others waiting for longest; 0: none
---@field blocking number seconds that one has been open
---@field blocking_pid integer the server's process that has it
---@field rows integer of the store's tables, estimated
---@field dead_rows integer the same
---@field connections integer there are, to all its databases
---@field connections_max integer so many may be, for a role like this one

---@class keel.Problem
---@field code "store_corrupt"|"store_missing"
---@field message string

---@class keel.Event
---@field id integer from 1, growing by one
---@field kind string
---@field at string time
---@field thread_id? string
---@field run_id? string
---@field runtime_id? string
---@field worker_ref? table JSON
---@field message? string
---@field data? table JSON

--- Where to go on reading: a plain table that survives JSON.
---@class keel.Cursor
---@field next_event_id integer at least 1
---@field epoch string of the store it was read from

---@class keel.EventPage
---@field events keel.Event[] oldest first
---@field cursor keel.Cursor
---@field has_more boolean more matches were there already
---@field gap? boolean true: the next events were pruned; the cursor is at the oldest there is

---@class keel.EventFilter
---@field run_id? string
---@field thread_id? string
---@field runtime_id? string
---@field worker_ref? keel.WorkerRef
---@field kinds? string[] at most 32; an empty list passes none

---@class keel.InflightQuery
---@field thread_id? string
---@field batch_id? string in place of a thread or session: of a batch in order of insertion, without those of machines
---@field before? string time: created then or earlier
---@field session_id? integer
---@field limit? integer 1 to 1000, default 100
---@field after? string a run id: go on behind it
---@field holding? boolean true: instead what runs or is finalizing on the thread; only thread_id and limit count
---@field finalizing? boolean true: the same, but only what is finalizing
---@field overdue? boolean true: of all threads, those whose deadline or lease has passed, and those without an owner
--- that may not be claimed; in order of insertion
---@field held_up? boolean true: the claimable run that is next on each thread where a run is finalizing or was asked
--- to stop
---@field brief? boolean true: without metadata, kwargs, token_usage_by_model and result

---@class keel.RunQuery
---@field status? keel.Status
---@field thread_id? string
---@field user_id? string
---@field batch_id? string in place of a thread; without the runs of machines
---@field after? string a run id: go on behind it, with older ones
---@field limit? integer 1 to 1000, default 100

---@class keel.RetriableQuery
---@field statuses keel.Status[] final ones
---@field thread_id? string
---@field batch_id? string in place of a thread
---@field user_id? string
---@field handler? string a run without one has "default"
---@field before? string time: created then or earlier
---@field after? string a run id: go on behind it
---@field limit? integer 1 to 1000, default 100

--- How many runs of a batch have each status.
---@class keel.BatchCounts
---@field pending integer
---@field running integer
---@field success integer
---@field error integer
---@field timeout integer
---@field interrupted integer
---@field total integer
---@field done integer those that have ended

---@class keel.DispatchQuery
---@field batch_id? string
---@field fingerprint? string with thread_id
---@field thread_id? string that of one machine
---@field after? string a run id: go on behind it
---@field limit? integer 1 to 1000, default 100

--- What the final runs of a thread have used, and with include_active the running ones.
---@class keel.TokenTotals
---@field total_tokens integer
---@field total_input_tokens integer
---@field total_output_tokens integer
---@field total_runs integer
---@field by_model table<string, { tokens: integer, runs: integer }> "unknown" for runs without a model
---@field by_caller { lead_agent: integer, subagent: integer, middleware: integer } tokens
---@field by_status table<keel.Status, integer> runs; each status that counts is there

--- The newest grant of a lease.
---@class keel.Grant
---@field name string
---@field token integer
---@field session_id integer whom it was granted to
---@field owner string
---@field held boolean neither released nor expired, and the session is alive
---@field expires_at? string time; absent once it was released

---@class keel.StatusChange
---@field error? string
---@field stop_reason? string
---@field cancel_action? keel.Action with a final status; kept only if none was asked for before
---@field fence? integer the owner's; absent: whoever asks
---@field finalizing? boolean true: its owner still has to settle it, if it was started through the gate
---@field gate? boolean true, with "running": only if its gate is open; if not, the third result is a keel.Gate
---@field lease_ttl? number with gate: seconds within which the owner must renew

---@class keel.Source
---@field run_id? string
---@field batch_id? string in place of it: its runs in flight that were made before
---@field on? "success"|"final" default "success", of a batch "final"

---@class keel.Slot
---@field name string
---@field max? integer 0 to 10000; absent: what is set for the name

---@class keel.Rate: keel.Slot
---@field per? number seconds; absent: what is set for the name

---@class keel.LimitChange what is absent stays; keel.null takes it away
---@field max? integer|userdata
---@field per? number|userdata seconds: the limit is a rate's
---@field paused? boolean
---@field reason? string|userdata

---@class keel.Limit
---@field name string
---@field max? integer
---@field per? number
---@field paused boolean
---@field reason? string
---@field holding integer runs that hold it
---@field waiting integer pending runs that want it

--- What keeps a pending run from starting.
---@class keel.Gate
---@field gate "open"|"delay"|"after"|"queue"|"concurrency"|"slot"|"rate"|"paused"
---@field run_id? string who is in the way
---@field name? string of the slot or rate, or what is paused
---@field free_at? string time, with "rate": when the next start may be
---@field scheduled_at? string time, with "delay"
---@field position? integer its place in the queue of its thread, from 1

---@class keel.Takeover
---@field status? keel.Status a final one; default "error"
---@field error? string
---@field error_code? string
---@field stop_reason? string default "orphan_recovered"
---@field cancel_action? keel.Action not with requeue; kept only if none was asked for before
---@field requeue? boolean true: pending and claimable again, with one loss more
---@field delay? number with requeue: seconds before it can start again
---@field settle_timeout? number seconds: a run whose owner was asked to stop longer ago counts too
---@field reconciler? string who decided it, for the event
---@field reconciler_version? string

--- What stores and transactions have in common. Each operation is atomic. All raise for wrong types, unknown fields and
--- options, and a closed handle; all can fail with busy, store_corrupt, store_readonly, store_full, io and no_memory,
--- and have then changed nothing.
---@class keel.Operations
local Operations = {}

--- Inserts a run, or merges the given fields into its row.
--- Fails with invalid_request (a bad value, no thread_id for a new run, another thread_id, ended_at or finalizing for
--- a run that has not ended), limit_too_large, invalid_transition, and stale_owner when `fence` is less than the row's.
---@param run_id string
---@param fields table<string, any> fields of keel.Run that are stored; keel.null stores null
---@param note? table JSON that becomes the `data` of a new run's run_created event
---@return boolean? done
---@return table|keel.Error written the fields that were written (all, for a new row), without those that are JSON
function Operations:put(run_id, fields, note) end

--- Inserts a run if its thread has nothing in flight and nothing that is finalizing, in one transaction. Fails as put
--- does.
---@param run_id string
---@param fields table<string, any> as of put; with thread_id
---@param note? table as of put
---@return boolean? admitted false: the thread is busy, and nothing has changed
---@return table|keel.Error|nil written as of put
function Operations:admit(run_id, fields, note) end

--- Reads a run: a new table each time. Fails with invalid_request.
---@param run_id string
---@param options? { user_id?: string } another user's run is not there
---@return keel.Run? run
---@return keel.Error? err
function Operations:get(run_id, options) end

--- Deletes a row; its events stay. Fails with invalid_request.
---@param run_id string
---@return boolean? deleted false when there was none
---@return keel.Error? err
function Operations:delete(run_id) end

--- Changes a run's status. To the status it has: nothing changes.
--- Fails with invalid_request, limit_too_large, invalid_transition (from, to), stale_owner.
---@param run_id string
---@param status keel.Status
---@param change? keel.StatusChange
---@return boolean? found false when there is no such row
---@return table|keel.Error|nil written the fields that were written
function Operations:update_status(run_id, status, change) end

--- Starts a run if its gate is open: update_status to "running" with gate = true, without a table.
--- Fails as that does.
---@param run_id string
---@param fence? integer the owner's; absent: whoever asks
---@param lease_ttl? number seconds within which the owner must renew; absent: never
---@return boolean? found false when there is no such row
---@return table|keel.Error|nil written the fields that were written
---@return keel.Gate|false|nil gate what the run waits for: then nothing was written; false: it has started, and its
--- event may say who can start now
function Operations:start(run_id, fence, lease_ttl) end

--- Writes counters and, unless the run has another final status, its outcome.
--- Fails with invalid_request, limit_too_large, invalid_transition, stale_owner.
---@param run_id string
---@param fields table status, result, error, error_code, exit_code, stop_reason, what update_run_progress takes, and
--- fence
---@param fence? integer in place of that of the fields
---@return boolean? found false when there is no such row
---@return table|keel.Error|nil written the fields that were written, without most that are JSON
function Operations:update_run_completion(run_id, fields, fence) end

--- Writes counters while the run is running; in any other status changes nothing. No event.
--- Fails with invalid_request, limit_too_large, stale_owner.
---@param run_id string
---@param fields table the counters, progress, token_usage_by_model, last_ai_message, first_human_message, model_name,
--- and fence
---@param fence? integer in place of that of the fields
---@return boolean? found false when there is no such row
---@return table|keel.Error|nil written the fields that were written, without most that are JSON
function Operations:update_run_progress(run_id, fields, fence) end

--- The newest runs of a thread, newest first, equal times in order of insertion.
--- Fails with invalid_request and limit_too_large.
---@param thread_id string
---@param options? { user_id?: string, limit?: integer } limit: 1 to 1000, default 100
---@return keel.Run[]? runs
---@return keel.Error? err
function Operations:list_by_thread(thread_id, options) end

--- Pending and running runs, oldest first: of a thread in order of insertion, else by creation time.
--- Fails with invalid_request and limit_too_large.
---@param query? keel.InflightQuery
---@return keel.Run[]? runs
---@return keel.Error|true|nil err or true: there are more, though the limit is not reached: these have 4 MiB of texts
function Operations:list_inflight(query) end

--- One document of a run. Fails with invalid_request.
---@param run_id string
---@param name "metadata"|"kwargs"|"token_usage_by_model"|"result"
---@param max_bytes? integer one that is longer is not read; default: none is too long
---@return any value nil: there is none, or it is longer
---@return keel.Error? err
---@return integer? size bytes of its text
function Operations:get_document(run_id, name, max_bytes) end

--- The lowest session above `after` that owns a run in flight: with session_alive it leads to what the dead left.
---@param after? integer default 0
---@return integer? session_id nil when there is none
---@return keel.Error? err
function Operations:next_owner(after) end

--- How many runs of a thread are pending or running. Fails with invalid_request.
---@param thread_id string
---@return integer? count
---@return keel.Error? err
function Operations:count_inflight(thread_id) end

--- How many runs there are, or starts of a rate, counted through an index up to 10 000. Asked in a transaction, the
--- starts of a rate are kept for so long from then on, until none waits or has started for so long. Fails with
--- invalid_request (count, rate, per, and the filters).
---@param question keel.Question
---@return integer? count
---@return keel.Error? err
function Operations:count_runs(question) end

--- The runs of machines, whatever their status, in order of insertion.
--- Fails with invalid_request, limit_too_large, and not_found when there is no run `after`.
---@param query? keel.DispatchQuery
---@return keel.Run[]? runs
---@return keel.Error? err
function Operations:list_dispatched(query) end

--- The newest runs of the store, of a thread or of a batch, without reservations. What status and user leave out is
--- passed over one by one.
--- Fails with invalid_request, limit_too_large, and not_found when there is no run `after`.
---@param query? keel.RunQuery
---@return keel.Run[]? runs
---@return keel.Error|true|nil err or true: there are more, though the limit is not reached: these have 4 MiB of texts
function Operations:list_runs(query) end

--- The runs that have ended in one of the statuses and that nobody has tried again, in order of insertion, without
--- their documents. What the filters leave out is passed over one by one.
--- Fails with invalid_request, limit_too_large, and not_found when there is no run `after`.
---@param query keel.RetriableQuery
---@return keel.Run[]? runs
---@return keel.Error|true|nil err or true: there are more, though the limit is not reached: these have 4 MiB of texts
function Operations:list_retriable(query) end

--- The newest run that is another try of a run, or of that one, and so on. Fails with invalid_request.
---@param run_id string
---@return string? run_id nil when there is none
---@return keel.Error? err
function Operations:newest_retry(run_id) end

--- How many runs of a batch have each status: counted, not remembered. Runs of machines are not in it.
--- Fails with invalid_request.
---@param batch_id string
---@return keel.BatchCounts? counts all 0 where there is no run
---@return keel.Error? err
function Operations:count_batch(batch_id) end

--- What the runs of a thread have used. Reservations and pending runs do not count. Takes time in proportion to the
--- thread. Fails with invalid_request, and limit_too_large when a sum is beyond 64 bits.
---@param thread_id string
---@param options? { include_active?: boolean } true: running ones count too
---@return keel.TokenTotals? totals
---@return keel.Error? err
function Operations:aggregate_tokens_by_thread(thread_id, options) end

--- Recovers an orphan: an in-flight run whose session is dead, that has neither a session nor `claimable`, or whose
--- lease or deadline has passed. Its fence grows, so that a late writer is refused. Fails with invalid_request,
--- limit_too_large.
---@param run_id string
---@param takeover? keel.Takeover
---@return boolean? taken whether it was an orphan and now is not
---@return keel.Error? err
function Operations:claim_for_takeover(run_id, takeover) end

--- Asks the owner of an in-flight run to stop it. The first action asked for holds for ever.
--- Fails with not_found, invalid_request, invalid_transition (it has ended).
---@param run_id string
---@param options? { action?: keel.Action } default "interrupt"
---@return keel.Action? action the one that holds
---@return keel.Error? err
function Operations:request_cancel(run_id, options) end

--- What keeps a pending run from starting. Fails with invalid_request.
---@param run_id string
---@return keel.Gate? gate nil when there is no such run
---@return keel.Error? err
function Operations:gate(run_id) end

--- All that keeps a pending run from starting, in the order of the gate. Fails with invalid_request.
---@param run_id string
---@return keel.Gate[]? reasons empty for one that may start; nil when there is no such run
---@return keel.Error? err
function Operations:reasons(run_id) end

--- Changes what is set for a name of slots or rates. Fails with invalid_request.
---@param name string
---@param limit keel.LimitChange
---@return true? done
---@return keel.Error? err
function Operations:set_limit(name, limit) end

--- What is set for names, and for those that runs in flight want, by name. Fails with invalid_request, limit_too_large.
---@param options? { after?: string, limit?: integer } after: go on behind this name; limit: 1 to 1000, the default
---@return keel.Limit[]? limits
---@return keel.Error? err
function Operations:limits(options) end

--- Lets nothing start of a name, of a thread ("thread:ID") or of everything ("*"). Fails with invalid_request.
---@param name string
---@param options? { reason?: string }
---@return true? done
---@return keel.Error? err
function Operations:pause(name, options) end

--- Ends a pause. Fails with invalid_request.
---@param name string
---@return true? done
---@return keel.Error? err
function Operations:resume(name) end

--- Takes the best claimable run whose gate is open: highest priority, then longest there. It is then running, owned by
--- this session. Fails with invalid_request and limit_too_large.
---@param options? { threads?: string[], handlers?: string[], limit?: integer, lease_ttl?: number } threads: only runs
--- of these; handlers: only runs with one of these, "default" for those without one; limit: blocked lines that are
--- looked at, 1 to 1000, the default; lease_ttl: seconds within which the owner must renew
---@return keel.Run? run nil when there is none to take
---@return keel.Error? err
function Operations:claim_next(options) end

--- Gives a run back: pending and claimable, with one attempt more if it had started; with `attempt = false` none is
--- spent, however many are left, and `snoozes` grows instead.
--- Fails with invalid_request, invalid_transition (it has ended), stale_owner.
---@param run_id string
---@param options? { fence?: integer, delay?: number, error?: string, attempt?: boolean } delay in seconds; attempt:
--- default true
---@return boolean? found false when there is no such row
---@return table|keel.Error|nil written the fields that were written
function Operations:requeue(run_id, options) end

--- Ends the finalizing of a run. Fails with invalid_request and stale_owner.
---@param run_id string
---@param options? { fence?: integer, settle_timeout?: number } settle_timeout: only if its owner is
--- gone, or has had it so many seconds longer since it ended
---@return boolean? settled whether it was finalizing and now is not
---@return keel.Error? err
function Operations:settle(run_id, options) end

--- Renews the leases of all runs that this session has in flight, in one statement. Fails with invalid_request.
---@param lease_ttl? number seconds, more than 0; nil: each for as long as it was last given
---@return integer? renewed how many
---@return keel.Error? err
function Operations:renew_runs(lease_ttl) end

--- The newest run of an idempotency key and a user whose key has not expired. Fails with invalid_request.
---@param idempotency_key string
---@param options? { user_id?: string }
---@return keel.Run? run
---@return keel.Error? err
function Operations:find_by_key(idempotency_key, options) end

--- Appends an event of the caller's own. Fails with invalid_request (for the kernel's kinds, too), limit_too_large.
---@param event { kind: string, thread_id?: string, run_id?: string, runtime_id?: string, worker_ref?: table,
--- message?: string, data?: table }
---@return integer? id
---@return keel.Error? err
function Operations:append_event(event) end

--- The same for whoever decides on admission: the kind is run_rejected or run_reused.
---@param event { kind: "run_rejected"|"run_reused", thread_id?: string, run_id?: string, data?: table }
---@return integer? id
---@return keel.Error? err
function Operations:append_admission(event) end

--- Makes a runtime or finds it, and stores what is given. Fails with invalid_request, limit_too_large.
---@param runtime_id string 1 to 128 bytes
---@param options? { display_name?: string, max_transcript_projection_items?: integer, max_event_batch_items?: integer }
---@return keel.RuntimeSummary? summary
---@return keel.Error? err
function Operations:open_runtime(runtime_id, options) end

--- Fails with not_found.
---@param runtime_id string
---@return keel.RuntimeSummary? summary
---@return keel.Error? err
function Operations:runtime_summary(runtime_id) end

--- The runtimes in order of their ids, 100 at a time. Fails with invalid_request (after).
---@param options? { after?: string } after: go on behind this runtime
---@return keel.RuntimeSummary[]? runtimes
---@return keel.Error? err
function Operations:list_runtimes(options) end

--- Stops a runtime and its active workers, each with its own event. Fails with not_found.
---@param runtime_id string
---@return integer? event_id of one that was stopped already, the event of then
---@return keel.Error? err
function Operations:stop_runtime(runtime_id) end

--- Makes a stopped runtime run again. Fails with not_found.
---@param runtime_id string
---@return integer? event_id of one that was running already, the event of then
---@return keel.Error? err
function Operations:start_runtime(runtime_id) end

--- Makes a worker; its documents are kept as they are. Fails with not_found, invalid_request, limit_too_large,
--- runtime_stopped, idempotency_mismatch, conflict (the worker_id is taken).
---@param runtime_id string
---@param request { worker_id?: string, intent: table, profile: table, config_bundle?: table,
--- requested_capabilities: table, workspace_refs: table, mount_refs: table, idempotency_key?: string }
---@return keel.Worker? worker
---@return boolean|keel.Error reused
function Operations:create_worker(runtime_id, request) end

--- Fails with wrong_runtime, not_found.
---@param runtime_id string
---@param ref keel.WorkerRef
---@return keel.Worker? worker
---@return keel.Error? err
function Operations:get_worker(runtime_id, ref) end

--- The workers of a runtime in order of creation. Fails with not_found, invalid_request, limit_too_large.
---@param runtime_id string
---@param options? { after?: string, limit?: integer, active?: boolean } after: a worker_id; limit: 1 to 1000, default
--- 100; active: only those that are running
---@return keel.WorkerSummary[]? workers
---@return keel.Error? err
function Operations:list_workers(runtime_id, options) end

--- Ends a worker; one that has ended stays as it is. Fails with wrong_runtime, not_found, invalid_request,
--- runtime_stopped.
---@param runtime_id string
---@param ref keel.WorkerRef
---@param status "stopped"|"cancelled"
---@param reason? string the message of its event
---@return keel.LifecycleAck? ack
---@return keel.Error? err
function Operations:end_worker(runtime_id, ref, status, reason) end

--- Appends to a worker's transcript. Fails with wrong_runtime, not_found, invalid_request, limit_too_large,
--- runtime_stopped, idempotency_mismatch.
---@param runtime_id string
---@param ref keel.WorkerRef
---@param input keel.WorkerInput
---@return keel.InputAck? ack
---@return boolean|keel.Error reused
function Operations:send_worker_input(runtime_id, ref, input) end

--- A part of a transcript. Fails with wrong_runtime, not_found, invalid_request, limit_too_large.
---@param runtime_id string
---@param ref keel.WorkerRef
---@param options? { start?: integer, limit?: integer } start: from 0; limit: default the runtime's
---@return keel.Projection? projection
---@return keel.Error? err
function Operations:read_transcript(runtime_id, ref, options) end

--- Makes a diagnostic, or counts one more for the one with this code and subject. Fails with not_found,
--- invalid_request, limit_too_large.
---@param runtime_id string
---@param diagnostic { severity: string, code: string, message: string, subject?: keel.WorkerRef|string }
---@return integer? id
---@return keel.Error? err
function Operations:record_diagnostic(runtime_id, diagnostic) end

--- The diagnostics of a runtime in order of id. Fails with not_found, invalid_request, limit_too_large.
---@param runtime_id string
---@param options? { after?: integer, limit?: integer } after: an id; limit: 1 to 1000, default 100
---@return keel.Diagnostic[]? diagnostics
---@return keel.Error|true|nil err or true: there are more, though the limit is not reached: these have 4 MiB of texts
function Operations:list_diagnostics(runtime_id, options) end

--- The oldest event that was not pruned.
---@return integer? id
---@return keel.Error? err
function Operations:event_low_water() end

--- The newest event there ever was, pruned or not; 0 when there was none.
---@return integer? id
---@return keel.Error? err
function Operations:event_high_water() end

--- One page of the log. Fails with invalid_request (limit, cursor), limit_too_large, and wrong_runtime for a cursor of
--- another store.
---@param cursor? keel.Cursor nil: from the start
---@param limit? integer 1 to 1000, default 256
---@param filter? keel.EventFilter
---@return keel.EventPage? page
---@return keel.Error? err
function Operations:read_events(cursor, limit, filter) end

--- Grants a name to this handle's session: what store:lease does, without an object.
--- Fails with lease_held (owner, expires_at), invalid_request (name, ttl, owner).
---@param name string
---@param options { ttl: number, owner?: string } ttl: seconds, more than 0; owner: default the store's
---@return keel.Grant? grant
---@return keel.Error? err
function Operations:acquire_lease(name, options) end

--- Makes a schedule (revision 0), or changes the row that has this revision. False: there is one already, or the row is
--- another by now or gone; nothing has changed then. Fails with invalid_request.
---@param name string
---@param fields { definition: table, next_at: string|number, last_at: string|number, period: number, problem?: string }
--- definition: kept as JSON, for whoever ticks; period: seconds
---@param revision? integer default 0
---@return boolean? written
---@return keel.Error? err
function Operations:put_schedule(name, fields, revision) end

--- Deletes a schedule; its runs stay. Fails with invalid_request.
---@param name string
---@return boolean? found
---@return keel.Error? err
function Operations:delete_schedule(name) end

--- The schedules of the store, by name; with `until` those that are due then, the earliest first. Fails with
--- invalid_request and limit_too_large.
---@param query? { name?: string, until?: string|number, after?: string, after_at?: string|number, limit?: integer }
--- name: that one alone; after, after_at: go on behind the schedule of this name, and with `until` of this time
---@return keel.ScheduleRow[]? rows
---@return boolean|keel.Error cut the page ended at 4 MiB, and more follow
function Operations:list_schedules(query) end

--- When the next thing after a time becomes due by time alone: a run that was put off, a deadline, a schedule. Fails
--- with invalid_request (after).
---@param after string|number time
---@return string? time nil, without an error: there is none
---@return keel.Error? err
function Operations:next_due(after) end

--- Lets a lease of this handle's session run for ttl seconds from now. Fails with stale_owner, invalid_request.
---@param name string
---@param token integer
---@param ttl number
---@return string? expires_at time
---@return keel.Error? err
function Operations:renew_lease(name, token, ttl) end

--- Frees a lease of this handle's session. Fails with stale_owner, invalid_request.
---@param name string
---@param token integer
---@return true? done
---@return keel.Error? err
function Operations:release_lease(name, token) end

--- The newest grant of a name; nil when there was none. Fails with invalid_request.
---@param name string
---@return keel.Grant? grant
---@return keel.Error? err
function Operations:get_lease(name) end

--- The session of this handle, made now if it has not written yet; nil for a readonly store.
---@return integer? session_id
---@return keel.Error? err
function Operations:session_id() end

--- Whether a session's process is there: true unless that can be ruled out. A number that is no session is dead.
---@param session_id integer
---@return boolean? alive
---@return true|keel.Error|nil undecided nothing here can tell; or the error
function Operations:session_alive(session_id) end

--- The descriptor that holds the session's lock, on a server that of the connection. It is the store's, not to be used
--- or closed: a process that is given a copy, as over a socket, keeps the session alive until it closes the copy or
--- dies, even when this process is gone.
---@return integer? descriptor nil if there is none: no session yet, or a store in memory
---@return keel.Error? err
function Operations:session_descriptor() end

--- Ends a session that a person knows to be dead where nothing else can tell: its runs are orphans from then on.
--- Fails with conflict for one that is certainly alive, this handle's too.
---@param session_id integer
---@return boolean? ended whether there was one
---@return keel.Error? err
function Operations:end_session(session_id) end

--- What becomes of orphans whose runs name no reconciler, whoever recovers them.
--- Fails with invalid_request (reconciler).
---@param name? string nil: the manager that recovers them decides
---@return true? done
---@return keel.Error? err
function Operations:set_reconciler(name) end

--- That name; nil when there is none.
---@return string? name
---@return keel.Error? err
function Operations:reconciler() end

--- Seconds that the lease of a run in flight has still to go unrenewed before this handle takes the run for lost, 0
--- when it does; nil: it has no lease. Counts from the first look at it, by the monotonic clock.
---@param run_id string
---@return number? seconds
---@return keel.Error? err
function Operations:lease_left(run_id) end

--- The sessions the store knows, oldest first: all that are alive, and dead ones until they are tidied away.
---@return keel.Session[]? sessions
---@return keel.Error? err
function Operations:sessions() end

--- What there is to know of the server that has the store. Fails with not_supported for a store that is on none.
---@return keel.Server? server
---@return keel.Error? err
function Operations:server() end

--- What is wrong with the store: at most 100 problems, none when it is sound. Takes time in proportion to the store.
---@return keel.Problem[]? problems
---@return keel.Error? err
function Operations:verify() end

--- Copies the store as it is now into a new file, as a store of its own: another epoch, no sessions. Blocks the thread.
--- Fails with invalid_request (path: it is there already), store_missing (no such directory), store_full, io, and busy
--- in a transaction.
---@param path string
---@return true? done
---@return keel.Error? err
function Operations:backup(path) end

--- Works off some of what is left when nobody comes by: dependents of runs that have ended and children of cancelled
--- ones, where these were more than a transaction takes, and starts of rates that nobody counts any more. Ticks do it.
--- Fails with busy in a transaction.
---@param place? string where the last call said to go on
---@return string? place where the next one goes on
---@return keel.Error? err
function Operations:catch_up(place) end

--- Whether a transaction of this handle has left dependents or children of runs, which were more than it takes: then
--- `catch_up` is worth a call.
---@return boolean
function Operations:is_behind() end

--- Copies the store as it is now into another place: a file that is not there yet, or a schema on a server that is not
--- there or is empty. It may be of another kind. The copy is a store of its own: another epoch, no sessions. Blocks the
--- thread. `anyway` copies what is in flight, too: what somebody has there is an orphan in the copy.
--- Fails with conflict (runs are in flight), invalid_request (path: it is taken), store_missing (no such directory),
--- store_full, io, what opening a store on a server fails with, and busy in a transaction.
---@param path string a path or postgresql://…
---@param options? { anyway?: boolean }
---@return true? done
---@return keel.Error? err
function Operations:copy(path, options) end

--- Makes the file as small as its content, while others read; blocks the thread, takes time in proportion to the store
--- and the room of a second one. Fails with store_readonly, store_full, and busy in a transaction or while others
--- write.
---@return integer? bytes that the file is smaller by
---@return keel.Error? err
function Operations:compact() end

--- Writes the log back into the file as far as others let it, and cuts it if they do. Happens by itself as the store is
--- used. Fails with busy in a transaction.
---@return integer? bytes of the log that somebody needs still
---@return keel.Error? err
function Operations:write_back() end

--- One step of pruning; see Store.prune. Fails with invalid_request.
---@param options { before: string, keep_last?: integer, statuses?: string[], dry_run?: boolean, limit?: integer,
--- next_run?: integer, next_worker?: integer, next_event?: integer } limit: rows of each sort that it looks at, 1 to
--- 1000
---@return { runs: integer, workers: integer, transcript_entries: integer, diagnostics: integer, events: integer,
--- unused_bytes: integer, next_run: integer, next_worker: integer, next_event: integer, more: boolean }? step
---@return keel.Error? err
function Operations:prune_step(options) end

--- How much there is of everything. Takes time in proportion to the rows.
---@return { bytes: integer, runs: integer, pending_runs: integer, running_runs: integer, delayed_runs: integer,
--- blocked_runs: integer, limited_runs: integer, oldest_waiting?: string, oldest_waiting_age?: number, limits: integer,
--- pauses: integer, runtimes: integer, workers: integer, active_workers: integer, transcript_entries: integer,
--- diagnostics: integer, leases: integer, schedules: integer, sessions: integer, events: integer,
--- event_low_water: integer, event_high_water: integer }? stats
---@return keel.Error? err
function Operations:stats() end

---@class keel.HandlerCount
---@field handler string "default" of those without one, too
---@field waiting integer pending runs
---@field running integer

--- What goes on, for who watches over a store. What was created, started and given back is told by the log since
--- `since`, which is the beginning of the window unless the log does not go back so far or has more than 100000 events
--- of it. Takes time in proportion to the runs. Fails with invalid_request.
---@param options? { handlers?: integer, window?: number } handlers: how many of them, those with most runs first, 0 to
--- 1000, default 50; window: seconds, default 300
---@return { runs: table<keel.Status, integer>, ended: table<keel.Status, integer>, since: string, created: integer,
--- started: integer, requeued: integer, handlers: keel.HandlerCount[] }? metrics
---@return keel.Error? err
function Operations:metrics(options) end

--- The id that was made when the store was created.
---@return string epoch
function Operations:epoch() end

--- An open store. A handle belongs to one thread at a time. Closed by `close`, by leaving the scope of a
--- `local store <close>`, or by the collector.
---@class keel.Store: keel.Operations
local Store = {}

--- Ends the session and closes the file; an open transaction is rolled back. Safe to call again.
function Store:close() end

--- Begins a writing transaction: no other process writes until it ends, and all other operations of this handle are
--- busy. With a thread_id, or the run_id of a run on it, the transaction keeps to that thread: on a server others write
--- on other threads meanwhile. Changing a run of another thread that somebody is at is then busy, and the next
--- transaction has the whole store, so that trying again gets through. idempotency_key and user_id: a key that is
--- looked for there.
--- Fails with busy, store_readonly, invalid_request (thread_id, run_id, …), io, no_memory and what damage gives.
---@param options? { wait?: boolean, thread_id?: string, run_id?: string, idempotency_key?: string, user_id?: string }
--- wait = false: busy at once while another writes; trying again is up to the caller
---@return keel.Transaction? tx
---@return keel.Error? err
function Store:begin(options) end

--- Runs fn(tx) in a transaction: commits when fn returns, rolls back when it raises (the error passes through) or
--- returns nil and an error. fn cannot yield. In lua/keel/store.lua. Fails with what begin, commit or fn fail with.
---@generic T
---@param fn fun(tx: keel.Transaction): T?, keel.Error?
---@return T? ... what fn returned; true when it returned nothing
---@return keel.Error? err
function Store:transaction(fn) end

--- Waits until read_events has something for the cursor: through the store's `sleep`, which may yield, else blocking.
--- Fails with invalid_request (cursor, timeout), wrong_runtime for a cursor of another store, and busy while a
--- transaction of this handle is open.
---@param cursor? keel.Cursor nil: the start
---@param options? { timeout?: number } seconds; nil: no end
---@return boolean? ready false when the time is over
---@return keel.Error? err
function Store:wait_events(cursor, options) end

--- The next operation of this handle waits no longer than that for other writers; lock_timeout holds as well.
---@param seconds number
function Store:wait_at_most(seconds) end

---@class keel.EventWaiter
local EventWaiter = {}

--- Whether read_events has something for the cursor. Never waits; a look that nobody has woken leaves the database
--- alone.
--- Raises when the waiter or its store is closed. Fails with invalid_request, wrong_runtime, and busy, which will pass.
---@param cursor? keel.Cursor nil: the start
---@return boolean? ready
---@return keel.Error? err
function EventWaiter:look(cursor) end

--- A descriptor for an event loop, such as luv's new_poll: readable when it is time for a look, which makes it
--- unreadable again. It is the waiter's, not to be read or closed; stop polling it before the waiter is closed. A
--- wake-up can be lost: look a few times a second all the same.
---@return integer? descriptor nil while nobody can wake the waiter, as in memory: look every few milliseconds then
function EventWaiter:descriptor() end

--- Safe to call again; __close and the collector do it as well.
function EventWaiter:close() end

--- For hosts with an event loop: tells when there is something to read, without waiting. While it is open, writers know
--- that somebody waits. Fails with no_memory, and with busy while a transaction of this handle is open.
---@return keel.EventWaiter? waiter
---@return keel.Error? err
function Store:event_waiter() end

--- Deletes what is old, in steps: events from the beginning of the log, and runs and workers that have ended. In
--- lua/keel/store.lua. Fails with invalid_request.
--- @param options { before?: string|number, keep_last?: integer, statuses?: string[], dry_run?: boolean } before: a
--- time, default now; keep_last: of each thread's runs, each runtime's workers, and the events; one of the two must be
--- given; dry_run: count what would go, and delete nothing
--- @return { runs: integer, workers: integer, transcript_entries: integer, diagnostics: integer, events: integer }?
--- counts
---@return keel.Error? err
function Store:prune(options) end

--- Grants a name to this store's session, until it is released, expires, or the session ends. In lua/keel/store.lua.
--- Fails with lease_held (owner, expires_at), also when this session holds it, and invalid_request (name, ttl, owner).
---@param name string
---@param options { ttl: number, owner?: string } ttl: seconds, more than 0; owner: what others see, default the store's
---@return keel.Lease? lease
---@return keel.Error? err
function Store:lease(name, options) end

--- The time by the store's clock.
---@return string time
function Store:now() end

--- The path as it was resolved; "" in memory.
---@return string
function Store:path() end

--- Where the store is: in a file, in memory, or on a server.
---@return "sqlite"|"memory"|"postgres"
function Store:backend() end

--- Waits as the store does: through its `sleep`, which may yield, else blocking. Raises below 0.
---@param seconds number
function Store:sleep(seconds) end

--- Calls fn(done, total) now and then while this handle makes a backup or a copy, or verifies; without fn, nobody. fn
--- must not use the store and cannot yield; what it raises passes through when the operation is over.
---@param fn? fun(done: integer, total: integer)
function Store:watch(fn) end

--- Says who hears of damaged documents, which are left out of what is read, when the store was opened without `log`.
---@param fn fun(level: string, message: string, fields: table)
function Store:tell_damage(fn) end

--- Calls the store's `log`, if it was given one.
---@param level "info"|"warn"|"error"
---@param message string
---@param fields? table
function Store:log(level, message, fields) end

--- A writing transaction. Leaving the scope of a `local tx <close>` rolls back what was not committed. In it nothing
--- waits, so no operation yields. An operation that failed half-way leaves nothing but rolling back, to its beginning
--- or to a savepoint made before.
---@class keel.Transaction: keel.Operations
local Transaction = {}

--- Makes everything durable, as the store's durability says. On failure all of it is undone.
---@return true? done
---@return keel.Error|string[]|nil err or ids: runs of this session that were changed besides those it was about
function Transaction:commit() end

--- Undoes everything. Safe to call again, and after commit, when it does nothing.
function Transaction:rollback() end

--- The same as rollback.
function Transaction:close() end

--- Marks a place to come back to. Fails with limit_too_large (32 open at once).
---@return integer? mark
---@return keel.Error? err
function Transaction:savepoint() end

--- Forgets a savepoint and those made after it; what was done since stays. Fails with invalid_request (mark).
---@param mark integer
---@return true? done
---@return keel.Error? err
function Transaction:release(mark) end

--- Undoes what was done since a savepoint, also half an operation, and ends it and those made after it. Fails with
--- invalid_request (mark), and when the database has ended the transaction by itself.
---@param mark integer
---@return true? done
---@return keel.Error? err
function Transaction:rollback_to(mark) end

-- --- The module ------------------------------------------------------------------------------------------------------

---@class keel.json
local json = {}

--- The JSON text of a value, names in byte order. Raises without an argument.
--- Fails with invalid_request (field "value"): functions, cycles, numbers that are not finite, text that is not UTF-8,
--- tables with both list items and names, nesting beyond 200.
---@param value any nil and keel.null give null
---@return string? text
---@return keel.Error? err
function json.encode(value) end

--- The value of a JSON text: arrays come marked as by keel.array, null as keel.null.
--- Fails with invalid_request (field "text"): no JSON, a name twice, whole numbers beyond 64 bits, nesting beyond 200.
---@param text string
---@return any value
---@return keel.Error? err
function json.decode(text) end

--- A copy that shares no table with the value, metatables kept. Raises for nesting beyond 200.
---@generic T
---@param value T
---@return T
function json.copy(value) end

--- The C module: for Keel's own files. Programs use `require "keel"`.
---@class keel.kernel
---@field version string
---@field json keel.json
---@field null userdata JSON null
---@field run_fields table<string, "string"|"time"|"integer"|"number"|"boolean"|"table"|"any"> those of a run
--- and their Lua types
---@field final table<keel.Status, true> the final statuses
---@field writes table<string, true> the methods of stores that write, and commit when they are called on a store
---@field limits { id: integer, worker_id: integer, result: integer, list: integer } bytes that they may have at most;
--- list: the entries of one
---@field retry_defaults { max_attempts: integer, initial_delay: number, max_delay: number, backoff_factor: number,
--- jitter: number } of a retry policy
---@field run_givers table<string, "caller"|"owner"|"store"> who gives the fields of a run their values
---@field machine_prefix string what the threads of machines begin with
---@field error_metatable table the metatable of keel.Error
---@field store_methods keel.Store the methods of stores; lua/keel/store.lua adds to them
local kernel = {}

--- Opens a store; see keel.open. Raises for unknown options and wrong types. Fails with invalid_request, store_missing,
--- store_corrupt, store_version, store_readonly, store_full, io, busy, no_memory.
---@param uri string a path, or ":memory:"
---@param options? keel.StoreOptions
---@return keel.Store? store
---@return keel.Error? err
function kernel.open(uri, options) end

--- Puts a backup in the place of a store, which may be missing, damaged, or left with a log that belongs to another
--- file. The new store has an epoch of its own and no sessions, and the rights of the old file; the old log and the
--- files beside it go. Blocks the thread. Unless the message says that the backup is in place, the old store is as it
--- was. Raises for wrong types.
--- Fails with busy (a live session has the store open), invalid_request (backup, path), store_missing, store_corrupt
--- (no backup of a store, a damaged one, or another application's database in its place), store_version,
--- store_readonly, store_full, io, no_memory.
---@param backup string the file that store:backup made
---@param path string the store's
---@return true? done
---@return keel.Error? err
function kernel.restore(backup, path) end

--- Marks a table as a JSON array, so that an empty one is written [] and not {}.
--- Raises for another type, and for a table with a metatable of its own.
---@generic T: table
---@param t? T nil: a new one
---@return T t the same table
function kernel.array(t) end

--- The time by the system's clock; within a process never the same twice.
---@return string time
function kernel.now() end

--- A UUID of version 7, greater than any this process made before. Fails with io.
---@return string? id
---@return keel.Error? err
function kernel.new_id() end

--- Blocks the thread. Raises below 0.
---@param seconds number
function kernel.sleep(seconds) end

--- Waits through a host's function, which may yield, wherever this is called. Where nothing may yield and that function
--- does, the thread is blocked; the first time `tell` is called with a message that says so.
---@param sleep fun(seconds: number)
---@param seconds number
---@param tell? fun(message: string)
function kernel.sleep_through(sleep, seconds, tell) end

---@param text string
---@return string hash 64 hexadecimal digits
function kernel.sha256(text) end

--- The name that was probably meant by a word: one that begins like it, or is at most two mistakes away, one if it is
--- short. The dashes of options do not count.
---@param word string
---@param names string[]
---@return string? name
function kernel.nearest(word, names) end

--- Whether a text has nothing but white space, as Unicode has it. False for a text that is not UTF-8.
---@param text string
---@return boolean
function kernel.is_blank(text) end

--- A time as seconds since the epoch. Fails with invalid_request (field "time").
---@param text string RFC 3339, any offset
---@return number? seconds
---@return keel.Error? err
function kernel.time_seconds(text) end

--- The opposite of time_seconds. Raises beyond 1e12.
---@param seconds number
---@return string time
function kernel.time_text(seconds) end

--- The same instant in the form that times are given in. Fails with invalid_request (field "time").
---@param text string RFC 3339, any offset
---@return string? time
---@return keel.Error? err
function kernel.time_utc(text) end

--- The hash of what a directory holds: see keel.dispatcher.hash_dir in the reference. Blocks while it reads.
--- Fails with not_found, invalid_request (field "path"), io and no_memory; the error's `path` names the file.
---@param path string
---@return string? hash 64 hexadecimal digits
---@return keel.Error? err
function kernel.hash_dir(path) end

--- The ids of the events that the last transaction of a store's handle has written. Whoever has written them himself
--- need not read them.
---@param store keel.Store
---@return integer? first nil: it has written none, was not committed, or is still open
---@return integer? next behind the last
function kernel.committed_events(store) end

--- Seconds on a clock that nobody sets; only differences mean something.
---@return number seconds
function kernel.monotonic() end

--- A number as text, with a decimal point whatever the host's locale says: as tostring writes it, or with so many
--- decimals. Raises for what is no number.
---@param number number
---@param decimals? integer 0 to 20
---@return string
function kernel.number_text(number, decimals) end

--- The seconds to wait after a failed attempt.
---@param policy keel.RetryPolicy
---@param attempt integer the failed one, from 1
---@param chance? number in [0, 1), decides the jitter; default 0
---@return number seconds
function kernel.retry_delay(policy, attempt, chance) end

--- Calls fn(...) under a budget, looked at every 1000 instructions. fn cannot yield, nor swallow the stop with pcall.
--- Raises for wrong types only.
---@param fn function
---@param instructions integer
---@param seconds number
---@param ... any arguments of fn
---@return boolean ok
---@return any result the first result of fn; else "failed" or "budget"
---@return string? reason what was raised; for "budget" "instructions" or "seconds"
---@return integer? line where, if known
function kernel.bounded_call(fn, instructions, seconds, ...) end

--- Whether a list is one of slots, or of rates, that a run can be made with. Raises for wrong types and another field.
--- Fails with invalid_request (field).
---@param list table
---@param field "slots"|"rates"
---@return true? sound
---@return keel.Error? err
function kernel.check_wants(list, field) end

--- A script in a Lua state of its own. What it names is in the reference, under "Scripts from files".
---@class keel.Sandbox
local Sandbox = {}

--- Runs the chunk and calls the function it returns with copies of the arguments: a list of tables is a list of
--- records, another table a record. A record that comes back in the result is the caller's own table again.
--- Raises for wrong types only.
---@param instructions integer
---@param seconds number
---@param bytes number what the call may allocate
---@param ... any
---@return boolean ok
---@return any result a copy; else "failed", "budget", or "memory": the host's is used up
---@return string? reason; for "budget" "instructions", "seconds" or "bytes"
---@return integer? line where, if known
---@return true? is_block of bytes: they would have been enough, but not for one block
function Sandbox:call(instructions, seconds, bytes, ...) end

--- The same with the function `reads` of the table that the chunk returns. Raises for wrong types only.
---@param instructions integer
---@param seconds number
---@param bytes number
---@param ... any
---@return boolean ok
---@return any result
---@return string? reason
---@return integer? line
---@return true? is_block
function Sandbox:reads(instructions, seconds, bytes, ...) end

--- Runs the chunk only, and sees whether it returns a function, or a table with the function `decide`. Returns what
--- call returns; the result says whether it is a table with `reads`, and has its `idle`.
---@param instructions integer
---@param seconds number
---@param bytes number
---@return boolean ok
---@return string|{ reads: boolean, idle?: table }|nil what
---@return string? reason
---@return integer? line
---@return true? is_block
function Sandbox:check(instructions, seconds, bytes) end

--- What the last call used. The hook counts in hundreds.
---@return integer instructions
---@return integer bytes at the peak
function Sandbox:usage() end

--- Makes a sandbox for a script, which is not compiled before it is called. Raises for wrong types.
---@param source string
---@param name string stands in messages
---@return keel.Sandbox? box
---@return string? problem longer than 16 KiB, bytecode, or naming _ENV
---@return integer? line
function kernel.sandbox(source, name) end

--- A text that changes with the file. Raises for wrong types.
---@param path string
---@return string? stamp
---@return string? problem
function kernel.script_stamp(path) end

--- Reads a regular file of at most 16 KiB; opens no other. Raises for wrong types.
---@param path string
---@return string? text
---@return string stamp, or the problem
---@return boolean? settled whether an equal stamp means an equal text from now on
function kernel.script_read(path) end

--- Like Lua's pcall, but fn cannot yield.
---@param fn function
---@param ... any arguments of fn
---@return boolean ok
---@return any ... results of fn, or what it raised
function kernel.pcall(fn, ...) end

return kernel
