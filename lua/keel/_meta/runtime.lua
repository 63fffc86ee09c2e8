---@meta keel.runtime_types
-- Types of worker runtimes, for the language server. Nothing loads this file. Names of workers and values in requests
-- are ids of at most 128 bytes.

--- All it takes to name a worker.
---@class keel.WorkerRef
---@field runtime_id string
---@field worker_id string

---@alias keel.WorkerStatus "running"|"stopped"|"cancelled" the last two are final

--- What a worker is meant to do. The fields of its kind must be given, but for `purpose`.
---@class keel.Intent
---@field kind "assistant"|"task"|"role"
---@field purpose? string of an assistant or a role
---@field objective? string of a task
---@field role? string of a role

---@class keel.Profile
---@field kind "runtime_default"|"builtin"|"named"
---@field value? string of the last two

---@class keel.Capability
---@field name string
---@field reason? string

---@class keel.NamedReference
---@field name string
---@field reference string nobody looks into it

---@class keel.WorkerRequest
---@field intent? keel.Intent default { kind = "assistant" }
---@field profile? keel.Profile default { kind = "runtime_default" }
---@field config_bundle? { id: string }
---@field requested_capabilities? keel.Capability[]
---@field workspace_refs? keel.NamedReference[]
---@field mount_refs? keel.NamedReference[]
---@field idempotency_key? string the same key gives the same worker of the runtime

--- A worker. It can stand for its ref.
---@class keel.Worker
---@field worker_ref keel.WorkerRef
---@field runtime_id string
---@field worker_id string
---@field status keel.WorkerStatus
---@field intent keel.Intent
---@field profile keel.Profile
---@field config_bundle? { id: string }
---@field requested_capabilities keel.Capability[]
---@field workspace_refs keel.NamedReference[]
---@field mount_refs keel.NamedReference[]
---@field transcript_len integer
---@field last_event_id integer
---@field created_at string time
---@field idempotency_reused? boolean the key was used before: this is the worker of then

---@class keel.WorkerSummary
---@field worker_ref keel.WorkerRef
---@field runtime_id string
---@field worker_id string
---@field status keel.WorkerStatus
---@field intent keel.Intent
---@field profile keel.Profile
---@field requested_capability_count integer
---@field has_config_bundle boolean
---@field transcript_len integer
---@field last_event_id integer
---@field created_at string time

---@class keel.WorkerInput
---@field kind "user"|"system"
---@field content string kept byte for byte; not blank
---@field run_id? string the run that caused it
---@field idempotency_key? string the same key gives the same entry of the worker

---@class keel.InputAck
---@field worker_ref keel.WorkerRef
---@field status keel.WorkerStatus
---@field transcript_sequence integer from 1
---@field event_id integer
---@field idempotency_reused? boolean the key was used before: this is the answer of then

---@class keel.LifecycleAck
---@field worker_ref keel.WorkerRef
---@field status keel.WorkerStatus
---@field event_id integer of the event that gave it this status

---@class keel.TranscriptItem
---@field sequence integer from 1
---@field worker_ref keel.WorkerRef
---@field role "user"|"system"
---@field content string
---@field run_id? string
---@field event_id integer

---@class keel.Projection
---@field worker_ref keel.WorkerRef
---@field start integer from 0
---@field limit integer
---@field total_items integer that the transcript has
---@field items keel.TranscriptItem[]
---@field next_start? integer absent at the end

---@class keel.RuntimeSummary
---@field runtime_id string
---@field display_name string
---@field backend "sqlite"|"memory" the store's
---@field status "running"|"stopped"
---@field worker_count integer
---@field active_worker_count integer
---@field stopped_worker_count integer
---@field cancelled_worker_count integer
---@field diagnostic_count integer
---@field limits { max_transcript_projection_items: integer, max_event_batch_items: integer }

---@class keel.RuntimeCursor: keel.Cursor
---@field runtime_id string

---@class keel.RuntimeEvents
---@field runtime_id string
---@field events keel.Event[] oldest first
---@field cursor keel.RuntimeCursor
---@field has_more boolean
---@field gap? boolean true: the next events were pruned; the cursor is at the oldest there is

---@class keel.Diagnostic
---@field id integer from 1 in each runtime, growing
---@field severity "info"|"warning"|"error"
---@field code string
---@field message string the newest
---@field subject? keel.WorkerRef|string a worker, the id of a run, or the runtime itself
---@field count integer how often it was noticed

--- What a diagnostic rule is shown.
---@class keel.RuntimeSnapshot
---@field cause "worker_created"|"worker_input_accepted"|"worker_stopped"|"worker_cancelled"
---@field now string time by the store's clock
---@field runtime keel.RuntimeSummary
---@field worker keel.Worker
---@field input? keel.WorkerInput

---@alias keel.DiagnosticRule keel.LoadedPolicy|fun(snapshot: keel.RuntimeSnapshot): table[]?

--- What makes workers work. Each method returns true, or nil and an error, and is called in a writing transaction: it
--- must be quick, cannot yield and must not use the runtime's store.
---@class keel.Backend
---@field spawn fun(self: keel.Backend, ref: keel.WorkerRef, worker: keel.Worker): true?, keel.Error|string|nil
---@field dispatch_input fun(self: keel.Backend, ref: keel.WorkerRef, input: table): true?, keel.Error|string|nil
---@field stop fun(self: keel.Backend, ref: keel.WorkerRef, reason?: string): true?, keel.Error|string|nil
---@field cancel fun(self: keel.Backend, ref: keel.WorkerRef, reason?: string): true?, keel.Error|string|nil
