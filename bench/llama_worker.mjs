// A worker (worker.py) that measures llama.cpp as the npm package node-llama-cpp has it, compiled by its makers for every kind of processor.
//
// usage: node llama_worker.mjs --package FOLDER --model FILE.gguf [--threads N] [--lora FILE.gguf]
//
// Operations: decode and prefill as generate_bench has them (states is not looked at), and
//   {"op": "streams", "way": "lora", "streams": 8, "adapters": 4, "tokens": 32, "prompt": 16} -> {"tokens_per_s", "seconds"}
//       that many greedy streams, stream i with adapter i mod adapters, until each has its tokens. A batch of llama.cpp has one set of
//       adapters, so a round is one batch per adapter, as its server does it. Every adapter is loaded from the same file, into memory of its
//       own. Way "base": no adapter, one batch a round.
//
// The package's own queue of evaluations takes part in nothing: its binding of llama.cpp's batches is called.

import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import {pathToFileURL} from "node:url";
import {parseArgs} from "node:util";

const CONTEXT_TOKENS = 768;  // of each sequence, where there are several
const SEQUENCES = 32;
const PROMPT_TOKENS = 2304;  // of the context with one sequence
const BATCH_TOKENS = 512;  // that are computed at once, llama.cpp's default

// As generate_bench's.
function some_tokens(count, salt) {
    return Array.from({length: count}, (_, i) => 1000 + (i * 7919 + salt * 104729) % 40000);
}

// Milliseconds of each run within `seconds`, after a warm-up.
async function repeat(seconds, run, {warm_up = 2, least = 3} = {}) {
    const times = [], start = performance.now();
    for (let number = -warm_up; number < 500; ++number) {
        const before = performance.now();
        await run();
        if (number >= 0) times.push(performance.now() - before);
        if (number + 1 >= least && performance.now() - start > seconds * 1000) break;
    }
    return {ms: times};
}

class Context {
    static async create(model, threads, sequences, tokens) {
        const context = new Context();
        context.owner = await model.createContext({sequences, contextSize: tokens, batchSize: BATCH_TOKENS, threads, swaFullCache: true});
        context.binding = context.owner._ctx;
        context.binding.setThreads(threads);
        return context;
    }

    // rows: [sequence, position, tokens]; computes logits of each row's last token and returns where they are.
    async run(rows) {
        this.binding.initBatch(rows.reduce((sum, [, , tokens]) => sum + tokens.length, 0));
        const places = rows.map(([sequence, position, tokens]) =>
            this.binding.addToBatch(sequence, position, Uint32Array.from(tokens), Uint32Array.of(tokens.length - 1))[0]);
        await this.binding.decodeBatch();
        return places;
    }

    forget(sequence, position = 0) {
        if (!this.binding.removeTokenCellsFromSequence(sequence, position, -1)) throw new Error("llama.cpp keeps its cells");
    }
}

class LlamaWorker {
    static async create(llama, {model, threads, lora}) {
        const worker = new LlamaWorker();
        worker.llama = llama;
        worker.model = await llama.loadModel({modelPath: model, gpuLayers: 0});
        worker.one = await Context.create(worker.model, threads, 1, PROMPT_TOKENS);
        worker.many = await Context.create(worker.model, threads, SEQUENCES, CONTEXT_TOKENS);
        worker.lora_file = lora;
        worker.remembered = new Map();  // "one" or "many" and the context: number of prefilled sequences
        worker.loras = [];
        worker.greedy = new llama._bindings.AddonSampler(worker.model._model);
        worker.greedy.applyConfig({temperature: 0});
        return worker;
    }

    async decode({batch, context, seconds}) {
        const kind = batch === 1 ? "one" : "many", where = this[kind], key = `${kind} ${context}`;
        const known = this.remembered.get(key) ?? 0;
        for (let sequence = known; sequence < batch; ++sequence) {
            where.forget(sequence);
            await where.run([[sequence, 0, some_tokens(context, sequence)]]);
        }
        for (const other of [...this.remembered.keys()]) if (other.startsWith(kind)) this.remembered.delete(other);
        this.remembered.set(key, Math.max(known, batch));
        const tokens = some_tokens(batch, 3);
        let position = context;
        const result = await repeat(seconds, async () => {
            await where.run(tokens.map((token, row) => [row, position, [token]]));
            ++position;
        });
        for (let row = 0; row < batch; ++row) where.forget(row, context);
        return result;
    }

    async prefill({tokens, seconds}) {
        const row = some_tokens(tokens, 5);
        for (const other of [...this.remembered.keys()]) if (other.startsWith("one")) this.remembered.delete(other);
        return await repeat(seconds, async () => {
            this.one.forget(0);
            for (let at = 0; at < tokens; at += BATCH_TOKENS) await this.one.run([[0, at, row.slice(at, at + BATCH_TOKENS)]]);
        }, {warm_up: 1});
    }

    async use_lora(number) {
        while (number !== null && this.loras.length <= number) {
            const lora = new this.llama._bindings.AddonModelLora(this.model._model, this.lora_file);
            await this.model._model.loadLora(lora);
            this.loras.push(lora);
        }
        this.many.binding.setLoras(number === null ? [] : [this.loras[number]], number === null ? [] : [1]);
    }

    async streams({way, streams, adapters, tokens, prompt}) {
        this.remembered.clear();
        const all = [...Array(streams).keys()];
        const groups = way === "lora" ? [...Array(adapters).keys()].map((number) => [number, all.filter((row) => row % adapters === number)])
            : [[null, all]];
        for (const row of all) this.many.forget(row);
        const pieces = all.map((row) => some_tokens(prompt, row)), positions = all.map(() => 0);
        const start = performance.now();
        for (let count = 0; count < tokens; ++count) {
            for (const [number, rows] of groups) {
                await this.use_lora(number);
                const places = await this.many.run(rows.map((row) => [row, positions[row], pieces[row]]));
                for (const [i, row] of rows.entries()) {
                    positions[row] += pieces[row].length;
                    pieces[row] = [await this.many.binding.sampleToken(places[i], this.greedy)];
                }
            }
        }
        const seconds = (performance.now() - start) / 1000;
        await this.use_lora(null);
        return {tokens_per_s: streams * tokens / seconds, seconds};
    }
}

// The library of kernels that llama.cpp chose for this processor: "haswell", ...
function kernels() {
    return fs.readFileSync("/proc/self/maps", "utf8").match(/libggml-cpu-([a-z0-9.]+)\.so/)?.[1] ?? "unknown";
}

// What libraries print is no answer: answers have a copy of standard output.
function say(message) {
    fs.writeSync(1, JSON.stringify(message) + "\n");
}

const {values} = parseArgs({options: {package: {type: "string"}, model: {type: "string"}, threads: {type: "string", default: "2"},
                                      lora: {type: "string", default: ""}}});
const {getLlama} = await import(pathToFileURL(path.join(values.package, "dist/index.js")));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const worker = await LlamaWorker.create(llama, {...values, threads: +values.threads});
const {version} = JSON.parse(fs.readFileSync(path.join(values.package, "package.json"), "utf8"));
say({ready: true, version: `node-llama-cpp ${version}, llama.cpp ${llama.llamaCppRelease.release}, ${kernels()}`, system: llama.systemInfo});
for await (const line of readline.createInterface({input: process.stdin})) {
    const {op, ...fields} = JSON.parse(line);
    try {
        say(["decode", "prefill", "streams"].includes(op) ? await worker[op](fields) : {error: "no such operation"});
    } catch (error) {  // whatever the library raises is the answer
        say({error: String(error)});
    }
}
process.exit(0);
