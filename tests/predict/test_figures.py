"""Figures of photos and videos: what they say, and that nothing in them is cut off."""

from __future__ import annotations

import numpy as np
import pytest

from auformer.predict import AUPredictor, ImagePrediction, find_sources
from auformer.predict.figures import BestFaces, photo_figure, timeline_figure
from tests.helpers.figures import cut_texts, texts
from tests.helpers.photos import AUS, write_photos
from tests.helpers.predictions import StandIn
from tests.helpers.trees.images import write_video
from tests.helpers.videos import moving


class WithMaps(StandIn):
    """Evidence of AU number k lies in the cell k."""

    def expert_maps(self, images):
        maps = images.new_zeros(len(images), len(self.au_names), 2, 2)
        for k in range(len(self.au_names)):
            maps[:, k].view(len(images), -1)[:, k] = 1
        return maps


class TestPhotos:
    def photo(self, tmp_path, name, network):
        predictor = AUPredictor(network)
        return predictor, next(iter(predictor.stream(find_sources([write_photos(tmp_path)[name]]))))

    def test_what_it_says(self, tmp_path):
        figure = photo_figure(*self.photo(tmp_path, "two", WithMaps(AUS)))
        said = texts(figure)
        assert "two.png, largest of 2 faces" in said and "AU12 Lip corner puller" in said
        assert any("Probabilities that an action unit occurs, not intensities." in text for text in said)
        assert cut_texts(figure) == []

    def test_a_notice_is_in_it_in_lines_that_fit(self, tmp_path):
        notice = "Trained on rendered faces only, " + "and so on " * 20 + "to its end.\nOccurrence, not intensities."
        figure = photo_figure(*self.photo(tmp_path, "one", WithMaps(AUS)), notice=notice)
        footer = next(text for text in texts(figure) if "Trained on rendered faces only" in text)
        assert footer.split() == notice.split() and max(map(len, footer.splitlines())) <= 90
        assert "one.png" in texts(figure) and cut_texts(figure) == []

    def test_an_image_for_each_map_and_none_without_experts(self, tmp_path):
        with_maps = photo_figure(*self.photo(tmp_path, "one", WithMaps(AUS)))
        without = photo_figure(*self.photo(tmp_path, "one", StandIn(AUS)))
        assert len(with_maps.axes) == len(without.axes) + len(AUS)

    def test_the_face_is_the_crop(self, tmp_path):
        predictor, photo = self.photo(tmp_path, "two", StandIn(AUS, image_size=(24, 24)))
        shown = [image.get_array() for axes in photo_figure(predictor, photo).axes for image in axes.get_images()]
        assert any(array.shape == (24, 24, 3) and np.array_equal(array, photo.faces[0].crop) for array in shown)


class TestVideos:
    @pytest.fixture
    def video(self, tmp_path):
        path = write_video(tmp_path / "talk.mp4", moving(8, without=[3, 4]), fps=10)
        predictor, best = AUPredictor(WithMaps(AUS)), BestFaces(AUS)
        for item in predictor.stream(find_sources([path])):
            if isinstance(item, ImagePrediction):
                best.add(item)
        return predictor, predictor.predict(path), best

    def test_timeline_and_maps(self, video):
        predictor, table, best = video
        figure = timeline_figure(table, AUS, title="talk.mp4", notice="trained on rendered faces only")
        assert {"talk.mp4, face 0", "AU12 Lip corner puller", "trained on rendered faces only"} <= set(texts(figure))
        assert cut_texts(figure) == []
        figure = best.figure(predictor, title="talk.mp4")
        said = texts(figure)
        assert len(figure.axes) == 3 and "AU25" in said and cut_texts(figure) == []
        assert any(f"{table['AU12_prob'].max():.2f}, " in text for text in said)

    def test_best_faces_are_kept_on_disk(self, video, tmp_path):
        predictor, _, best = video
        best.save(tmp_path / "best.npz")
        back = BestFaces(AUS)
        back.restore(tmp_path / "best.npz")
        figures = [one.figure(predictor, title="x") for one in (best, back)]
        assert texts(figures[0]) == texts(figures[1])
        for a, b in zip(*([axes.get_images() for axes in figure.axes] for figure in figures), strict=True):
            assert all(np.array_equal(x.get_array(), y.get_array()) for x, y in zip(a, b, strict=True))
        empty = BestFaces(AUS)
        empty.save(tmp_path / "best.npz")
        empty.restore(tmp_path / "best.npz")
        assert empty.figure(predictor, title="x") is None

    def test_nothing_to_draw(self, video):
        predictor, table, _ = video
        assert timeline_figure(table[table["status"] != "ok"], AUS, title="x") is None
        assert BestFaces(AUS).figure(predictor, title="x") is None
