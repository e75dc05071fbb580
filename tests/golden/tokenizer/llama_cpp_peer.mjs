// How llama.cpp tokenizes, as node-llama-cpp has it:  node llama_cpp_peer.mjs MODEL.gguf TOKENS TEXTS RESULT
//
// TOKENS is how many there are; TEXTS holds a JSON string a line. The first line of RESULT holds the ids that end a generation; then come, for each
// text, its ids with special tokens parsed and added, and without either.

import fs from "node:fs";
import {getLlama} from "node-llama-cpp";

const [model_path, count, texts_path, result_path] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error"});
const model = await llama.loadModel({modelPath: model_path, vocabOnly: true});
const {bos, eos, shouldPrependBosToken, shouldAppendEosToken} = model.tokens;
const before = shouldPrependBosToken ? [bos] : [], after = shouldAppendEosToken ? [eos] : [];

const result = fs.openSync(result_path, "w");
fs.writeSync(result, JSON.stringify([...Array(+count).keys()].filter((id) => model.isEogToken(id))) + "\n");
for (const line of fs.readFileSync(texts_path, "ascii").split("\n").slice(0, -1)) {
    const text = JSON.parse(line);
    fs.writeSync(result, JSON.stringify([[...before, ...model.tokenize(text, true), ...after], model.tokenize(text, false)]) + "\n");
}
process.exit(0);
